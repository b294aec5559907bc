"""What one iteration computes: the generated pictures, and every term of the loss (method: generator-side total).

The two modules here are what is trained: their forward passes return the terms, so that a wrapper that averages
gradients over processes sees one forward and one backward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dgaug.models.reid import ReidOutput, soft_labels
from dgaug.models.structure import grey
from dgaug.settings import Settings
from dgaug.training import objectives
from dgaug.training.erasing import Box, erase
from dgaug.training.networks import Networks, frozen_state, training_mode
from dgaug.training.objectives import SIDES, partners

Terms = dict[str, Tensor]


class Batch(NamedTuple):
    """Two batches of B pictures side by side, in the ImageNet-normalised space.

    pictures and positives [2B, 3, H, W] (another picture of the same identity), labels [2B].
    """

    pictures: Tensor
    positives: Tensor
    labels: Tensor


class Plan(NamedTuple):
    """What an iteration computes of a batch: weights by term, the boxes erased, who learns from the structure term."""

    weights: dict[str, float]
    boxes: list[Box]
    positive_boxes: list[Box]
    encoder_learns: bool


class Codes(NamedTuple):
    """Appearance codes [2B, code] of the pictures and of their positives; no gradient reaches them."""

    pictures: Tensor
    positives: Tensor


class Scene(NamedTuple):
    """What the generator drew: row k of `fakes` is appearance k on the structure of its partner."""

    structure: Tensor
    fakes: Tensor
    reconstruction: Tensor
    same_identity: Tensor


class DiscriminatorTerms(nn.Module):
    """The discriminator's loss."""

    def __init__(self, networks: Networks, settings: Settings) -> None:
        super().__init__()
        self.discriminator = networks.discriminator
        self.penalised = settings.loss.gradient_penalty > 0

    def forward(self, pictures: Tensor, fakes: Tensor) -> Terms:
        """`discriminator` and, where it has a weight, `gradient_penalty`, of real and generated pictures."""
        real = pictures.detach().requires_grad_(self.penalised)
        scores = self.discriminator(real)
        terms = {"discriminator": objectives.discriminator_error(scores, self.discriminator(fakes))}
        if self.penalised:
            terms["gradient_penalty"] = objectives.gradient_penalty(scores, real)
        return terms


class GeneratorTerms(nn.Module):
    """The loss of generator and appearance encoder, with discriminator and teacher as they are."""

    def __init__(self, networks: Networks, settings: Settings) -> None:
        super().__init__()
        self.generator = networks.generator
        self.appearance = networks.appearance
        self.behaviour = settings.behaviour
        self._networks = networks  # a plain dataclass, so that only the two above are this module's parameters

    def codes(self, batch: Batch) -> Codes:
        """Appearance codes of a batch."""
        return Codes(self.appearance_codes(batch.pictures), self.appearance_codes(batch.positives))

    @torch.no_grad()
    def appearance_codes(self, pictures: Tensor) -> Tensor:
        """Appearance codes [2B, code] of pictures, which teach nothing."""
        return torch.cat([self.appearance(side).appearance for side in self._code_batches(pictures)])

    def draw(self, batch: Batch, codes: Codes) -> Scene:
        """Every picture that the generator makes of a batch, but for the cycle."""
        generator = self.generator
        structure = generator.structure(batch.pictures)
        adain, positive_adain = generator.adain(codes.pictures), generator.adain(codes.positives)
        return Scene(
            structure=structure,
            fakes=generator.decoder(partners(structure), adain),
            reconstruction=generator.decoder(structure, adain),
            same_identity=generator.decoder(structure, positive_adain),
        )

    def forward(self, batch: Batch, codes: Codes, scene: Scene, plan: Plan) -> Terms:
        """Every term that has a weight, unweighted."""
        terms = {
            "reconstruction": objectives.reconstruction(scene.reconstruction, batch.pictures),
            "same_identity": objectives.reconstruction(scene.same_identity, batch.pictures),
        }
        if "adversarial" in plan.weights:
            terms["adversarial"] = objectives.adversarial(self._networks.discriminator(scene.fakes))
        terms |= self._identification_terms(batch, plan)
        terms |= self._code_terms(batch, codes, scene, plan)
        if self._networks.teacher is not None and "teacher" in plan.weights:
            terms |= self._feeding_terms(self._networks.teacher, batch.labels, scene.fakes.detach(), plan)
        return {name: term for name, term in terms.items() if name in plan.weights}

    def _identification_terms(self, batch: Batch, plan: Plan) -> Terms:
        anchors = self._live_logits(erase(batch.pictures, plan.boxes))
        positives = self._live_logits(erase(batch.positives, plan.positive_boxes))
        terms = {
            "identification": objectives.identification(anchors[0], batch.labels),
            "positive": objectives.identification(positives[0], batch.labels),
        }
        if "real_fine" in plan.weights:
            terms["real_fine"] = objectives.identification(anchors[1], batch.labels)
        return terms

    def _code_terms(self, batch: Batch, codes: Codes, scene: Scene, plan: Plan) -> Terms:
        generator, terms = self.generator, {}
        seen = self._frozen_appearance(scene.fakes)
        terms["generated_identity"] = objectives.identification(seen.logits[0], batch.labels)
        if "appearance_code" in plan.weights:
            terms["appearance_code"] = objectives.reconstruction(seen.appearance, codes.pictures)
        if "structure_code" in plan.weights or "cycle" in plan.weights:
            if plan.encoder_learns:
                seen_structure = generator.structure(scene.fakes.detach())
            else:
                encoder = generator.structure_encoder
                seen_structure = functional_call(encoder, frozen_state(encoder), (grey(scene.fakes),))
            terms["structure_code"] = objectives.reconstruction(seen_structure, partners(scene.structure).detach())
            if "cycle" in plan.weights:
                cycle = generator(partners(seen_structure), seen.appearance.detach())
                terms["cycle"] = objectives.reconstruction(cycle, batch.pictures)
        return terms

    def _feeding_terms(self, teacher: nn.Module, labels: Tensor, fakes: Tensor, plan: Plan) -> Terms:
        teacher.train(self.behaviour.teacher_statistics == "batch")
        soft_label = torch.cat([soft_labels(teacher, side) for side in fakes.chunk(SIDES)])
        logits = self._live_logits(fakes)
        terms = {"teacher": objectives.teacher_divergence(logits[0], soft_label)}
        if "fine" in plan.weights:
            terms["fine"] = objectives.identification(logits[1], partners(labels))
        return terms

    def _live_logits(self, pictures: Tensor) -> list[Tensor]:
        """Class scores [2B, C] of each head, learning; each side is a batch of its own for batch norm."""
        statistics = self.behaviour.appearance_statistics
        training_mode(self.appearance, statistics=statistics)
        sides = pictures.chunk(SIDES) if statistics == "batch" else (pictures,)
        return [torch.cat(heads) for heads in zip(*(self.appearance(side).logits for side in sides), strict=True)]

    def _frozen_appearance(self, fakes: Tensor) -> ReidOutput:
        encoder = self.appearance
        seen: list[ReidOutput] = [
            functional_call(encoder, frozen_state(encoder), (side,), {"dropout": False})
            for side in self._code_batches(fakes)
        ]
        prim = torch.cat([side.logits[0] for side in seen])
        return ReidOutput((prim,), (), torch.cat([side.appearance for side in seen]))

    def _code_batches(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Put the encoder in the mode that gives codes; the batches that it sees."""
        batch_statistics = self.behaviour.code_statistics == "batch"
        self.appearance.train(batch_statistics)
        return pictures.chunk(SIDES) if batch_statistics else (pictures,)
