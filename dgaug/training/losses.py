"""Every term of DG-Net's loss, and what one iteration computes (method: training losses, generator-side total).

An iteration sees two independent batches a and b of B images, side by side in one tensor [2B, ...]: row k and
row (k + B) mod 2B are partners. The published total adds the two sides; a mean over 2B rows is half of that sum,
so every term here is twice its mean.

Terms come in groups, each with a graph of its own whose backward pass frees it before the next group is computed: the
memory of an iteration is that of its largest group. Where groups share a code or an image, a `Cut` gathers what their
gradients say of it, and passes it on once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from dgaug.models.blocks import as_published
from dgaug.models.convolution import input_gradients, penalised
from dgaug.models.half_weights import with_half_weights
from dgaug.models.reid import AnyReidNetwork, ReidOutput, soft_labels
from dgaug.settings import Settings
from dgaug.training.augmentation import erase
from dgaug.training.networks import Networks, frozen_state, training_mode
from dgaug.training.structure_input import structure_input

Terms = dict[str, Tensor]
STRUCTURE_TERMS = ("structure_code", "cycle")
"""Terms of the structure code of a generated image."""
TEACHER_TERMS = {"teacher_identity", "teacher_feature"}
"""Terms in which the teacher says whether a generated image shows its appearance donor."""
SIDES = 2


def partners(rows: Tensor) -> Tensor:
    """The rows of the other batch: [2B, ...] with its halves exchanged."""
    return rows.roll(rows.shape[0] // SIDES, dims=0)


def reconstruction(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of images or codes, both sides added."""
    return SIDES * functional.l1_loss(image.float(), target.float())


def identification(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of class scores [2B, C] with labels [2B], both sides added."""
    return SIDES * functional.cross_entropy(logits.float(), labels)


def teacher_divergence(logits: Tensor, soft_label: Tensor) -> Tensor:
    """KL(soft label || softmax of the logits) summed over classes, mean over images, both sides added."""
    return SIDES * functional.kl_div(logits.float().log_softmax(dim=1), soft_label, reduction="batchmean")


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    """One minus the cosine of re-id features [2B, D], both sides added."""
    return SIDES * (1 - functional.cosine_similarity(features.float(), target.float())).mean()


def patch_error(scores: list[Tensor], target: float | Tensor) -> Tensor:
    """Least squares of patch scores to a target, or one of each row (Mao et al., 2017); scales and sides added."""
    return SIDES * torch.stack([(maps.float() - target).square().mean() for maps in scores]).sum()


def gradient_penalty(real: list[Tensor], images: Tensor) -> Tensor:
    """R1 (Mescheder et al., 2018): squared gradient norm of each scale's score at the real images.

    `images` [2B, 3, H, W] must require a gradient and be what `real` was computed from.
    """
    penalty = images.new_zeros(())
    for scores in real:
        with input_gradients():
            (gradient,) = torch.autograd.grad(scores.float().sum(), images, create_graph=True)
        penalty = penalty + gradient.float().square().sum(dim=(1, 2, 3)).mean()
    return SIDES * penalty


def adversarial(generated: list[Tensor]) -> Tensor:
    """Generator's side: patch scores of generated images to 1, doubled as published."""
    return 2 * patch_error(generated, 1)


class Batch(NamedTuple):
    """Two batches of B images side by side, in the ImageNet-normalised space.

    images and positives [2B, 3, H, W] (another image of the same identity), labels [2B].
    """

    images: Tensor
    positives: Tensor
    labels: Tensor


class Plan(NamedTuple):
    """What an iteration computes of a batch.

    Attributes:
        weights: of each term that is wanted, numbers or tensors without axes.
        boxes: what is erased from the images and from their positives [2, 2B, 4].
        encoder_learns: who learns from the structure term, the encoder or what generates.
        greys: random numbers of what the structure encoder sees of the images and of the generated ones [2, 2B, ...].
    """

    weights: Mapping[str, float] | Mapping[str, Tensor]
    boxes: Tensor
    encoder_learns: bool
    greys: Tensor


class Codes(NamedTuple):
    """Appearance codes [2B, code] of the images and of their positives; no gradient reaches them."""

    images: Tensor
    positives: Tensor


@dataclass(frozen=True)
class Cut:
    """A tensor that several groups read: `whole` with the graph that made it, `leaf` without, for the groups."""

    whole: Tensor
    leaf: Tensor

    @classmethod
    def of(cls, whole: Tensor) -> Cut:
        """Cut here, if there is a graph to cut."""
        return cls(whole, whole.detach().requires_grad_(whole.requires_grad))


class Scene(NamedTuple):
    """Codes of the images, AdaIN parameters of their positives too, and what was drawn of them.

    Row k of `fakes` is appearance k on the structure of its partner.
    """

    structure: Cut
    adain: Cut
    positive_adain: Cut
    fakes: Cut

    def backward(self, parameters: list[Tensor]) -> None:
        """Pass on what the groups' gradients say of the cuts: from the images to the codes to the encoders."""
        codes = [self.structure, self.adain, self.positive_adain]
        _pass_on([self.fakes], [*parameters, *(cut.leaf for cut in codes)])
        _pass_on(codes, parameters)


def _pass_on(cuts: list[Cut], inputs: list[Tensor]) -> None:
    reached = [cut for cut in cuts if cut.leaf.grad is not None]
    if reached:
        torch.autograd.backward([cut.whole for cut in reached], [cut.leaf.grad for cut in reached], inputs=inputs)


class IterationTerms:
    """The terms of an iteration, unweighted, over the networks as they are."""

    def __init__(self, networks: Networks, settings: Settings) -> None:
        self.networks = networks
        self.behaviour = settings.behaviour
        self.structure_input = settings.structure_input
        self.penalised = settings.loss.gradient_penalty > 0

    def codes(self, batch: Batch) -> Codes:
        """Appearance codes of a batch: in one pass, unless batch norm must see each side alone."""
        if self.behaviour.code_statistics == "batch":
            return Codes(self.appearance_codes(batch.images), self.appearance_codes(batch.positives))
        return Codes(*self.appearance_codes(torch.cat((batch.images, batch.positives))).chunk(2))

    @torch.no_grad()
    def appearance_codes(self, images: Tensor) -> Tensor:
        """Appearance codes [2B, code] of images, which teach nothing."""
        return torch.cat([self.networks.appearance(side).appearance for side in self._code_batches(images)])

    def generate(self, batch: Batch, codes: Codes, plan: Plan) -> Scene:
        """Encode, and draw every appearance on its partner's structure."""
        generator = self.networks.generator
        seen = structure_input(batch.images, plan.greys[0], self.structure_input)
        structure = Cut.of(generator.structure_encoder(seen))
        adain, positive_adain = Cut.of(generator.adain(codes.images)), Cut.of(generator.adain(codes.positives))
        fakes = Cut.of(generator.decoder(partners(structure.leaf), adain.leaf))
        return Scene(structure, adain, positive_adain, fakes)

    def discriminator(self, batch: Batch, fakes: Tensor) -> Iterator[Terms]:
        """Groups of the discriminator: of generated images, then of real ones with their gradient penalty.

        A paired discriminator also learns to reject a real image beside another identity's.
        """
        critic, others = self.networks.discriminator, batch.positives
        error = patch_error(critic(fakes, others), 0)
        if critic.paired:
            same = (batch.labels == partners(batch.labels)).float()[:, None, None, None]
            error = (error + patch_error(critic(batch.images, partners(others)), same)) / 2
        yield {"discriminator": error}
        real = batch.images.detach().requires_grad_(self.penalised)
        with penalised(self.penalised and not as_published()):
            # What is differentiated twice cannot be compiled, and `forward` is not.
            scores = critic.forward(real, others) if self.penalised else critic(real, others)
        terms = {"discriminator": patch_error(scores, 1)}
        if self.penalised:
            terms["gradient_penalty"] = gradient_penalty(scores, real)
        yield terms

    def generator(self, batch: Batch, codes: Codes, scene: Scene, plan: Plan) -> Iterator[Terms]:
        """Groups of generator and appearance encoder: every term that has a weight."""
        fakes, wanted = scene.fakes.leaf, plan.weights.keys()
        if wanted & {"identification", "real_fine"}:
            prim, fine = self._live_logits(erase(batch.images, plan.boxes[0]))
            yield {
                "identification": identification(prim, batch.labels),
                "real_fine": identification(fine, batch.labels),
            }
        if "positive" in wanted:
            prim, _ = self._live_logits(erase(batch.positives, plan.boxes[1]))
            yield {"positive": identification(prim, batch.labels)}
        if "adversarial" in wanted:
            yield {"adversarial": adversarial(self.networks.discriminator(fakes, batch.positives))}
        if wanted & {"generated_identity", "appearance_code", "cycle"}:
            seen = self._frozen_appearance(fakes)
            yield {
                "generated_identity": identification(seen.logits[0], batch.labels),
                "appearance_code": reconstruction(seen.appearance, codes.images),
            }
        if wanted & TEACHER_TERMS:
            yield self._teacher_terms(fakes, batch)
        if not wanted.isdisjoint(STRUCTURE_TERMS):
            structure = self._seen_structure(fakes, plan)
            terms = {
                "structure_code": reconstruction(structure, partners(scene.structure.leaf).detach()),
            }
            if "cycle" in wanted:
                cycle = self.networks.generator(partners(structure), seen.appearance.detach())
                terms["cycle"] = reconstruction(cycle, batch.images)
            yield terms
        if self.networks.teacher is not None and "teacher" in wanted:
            soft_label = self._soft_labels(fakes.detach())
            prim, fine = self._live_logits(fakes.detach())
            yield {
                "teacher": teacher_divergence(prim, soft_label),
                "fine": identification(fine, partners(batch.labels)),
            }
        for name, adain in (("reconstruction", scene.adain), ("same_identity", scene.positive_adain)):
            if name in wanted:
                drawn = self.networks.generator.decoder(scene.structure.leaf, adain.leaf)
                yield {name: reconstruction(drawn, batch.images)}

    def _live_logits(self, images: Tensor) -> list[Tensor]:
        """Class scores [2B, C] of each head, learning; each side is a batch of its own for batch norm."""
        encoder, statistics = self.networks.appearance, self.behaviour.appearance_statistics
        training_mode(encoder, statistics=statistics)
        sides = images.chunk(SIDES) if statistics == "batch" else (images,)
        return [torch.cat(heads) for heads in zip(*(encoder(side).logits for side in sides), strict=True)]

    @cached_property
    def _teacher(self) -> AnyReidNetwork:
        """The teacher as it computes: it does not learn, so its weights are cast once."""
        teacher = self.networks.teacher
        assert teacher is not None
        computing = with_half_weights(teacher) if self.behaviour.precision == "bf16" else teacher
        on_gpu = next(self.networks.generator.parameters()).is_cuda
        if self.behaviour.compile and self.behaviour.arithmetic == "fast" and on_gpu:
            computing.compile()
        return computing

    def _teacher_terms(self, fakes: Tensor, batch: Batch) -> Terms:
        """The teacher in eval mode whatever its statistics elsewhere: a fixed judge."""
        teacher = self._teacher.eval()
        with torch.no_grad():
            (target, *_) = teacher(batch.images).embeddings
        seen = teacher(fakes)
        return {
            "teacher_identity": identification(seen.logits[0], batch.labels),
            "teacher_feature": feature_distance(seen.embeddings[0], target),
        }

    def _soft_labels(self, fakes: Tensor) -> Tensor:
        batch_statistics, teacher = self.behaviour.teacher_statistics == "batch", self._teacher
        teacher.train(batch_statistics)
        sides = fakes.chunk(SIDES) if batch_statistics else (fakes,)
        return torch.cat([soft_labels(teacher, side) for side in sides])

    def _seen_structure(self, fakes: Tensor, plan: Plan) -> Tensor:
        encoder = self.networks.generator.structure_encoder
        shown = structure_input(fakes.detach() if plan.encoder_learns else fakes, plan.greys[1], self.structure_input)
        seen: Tensor = (
            encoder(shown) if plan.encoder_learns else functional_call(encoder, frozen_state(encoder), (shown,))
        )
        return seen

    def _frozen_appearance(self, fakes: Tensor) -> ReidOutput:
        encoder = self.networks.appearance
        seen: list[ReidOutput] = [
            functional_call(encoder, frozen_state(encoder), (side,), {"dropout": False})
            for side in self._code_batches(fakes)
        ]
        prim = torch.cat([side.logits[0] for side in seen])
        return ReidOutput((prim,), (), torch.cat([side.appearance for side in seen]))

    def _code_batches(self, images: Tensor) -> tuple[Tensor, ...]:
        """Put the encoder in the mode that gives codes; the batches that it sees."""
        batch_statistics = self.behaviour.code_statistics == "batch"
        self.networks.appearance.train(batch_statistics)
        return images.chunk(SIDES) if batch_statistics else (images,)
