"""One iteration of DG-Net training (method: order of one iteration)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from dgaug.chance import draws, seed_torch
from dgaug.models.checkpoints import appearance_network
from dgaug.models.discriminator import Discriminator
from dgaug.models.generator import Generator
from dgaug.models.reid import ReidNetwork, ReidOutput, soft_labels
from dgaug.models.structure import grey
from dgaug.settings import Settings
from dgaug.training import objectives, schedule
from dgaug.training.erasing import erase
from dgaug.training.objectives import SIDES, partners


@dataclass
class Networks:
    """The networks of a run; `teacher` is None when nothing is fed back, `averaged` is the EMA of the generator."""

    generator: Generator
    averaged: Generator
    appearance: ReidNetwork
    discriminator: Discriminator
    teacher: ReidNetwork | None = None

    def to(self, device: torch.device) -> Networks:
        """Move every network to a device."""
        for network in (self.generator, self.averaged, self.appearance, self.discriminator, self.teacher):
            if network is not None:
                network.to(device)
        return self


class Batch(NamedTuple):
    """Two batches of B pictures side by side, in the ImageNet-normalised space.

    pictures and positives [2B, 3, H, W] (another picture of the same identity), labels [2B].
    """

    pictures: Tensor
    positives: Tensor
    labels: Tensor


def build_networks(settings: Settings, classes: int, *, weights: str | None = None) -> Networks:
    """Fresh networks for `classes` identities; `weights` replaces the setting of the backbone's weights."""
    model, size = settings.model, settings.data.image_size
    appearance = appearance_network(settings, classes, weights=weights)
    generator = Generator(size, appearance.code_length, model.width)
    averaged = copy.deepcopy(generator).requires_grad_(False)
    return Networks(generator, averaged, appearance, Discriminator(size, model.width))


def frozen_state(network: nn.Module) -> dict[str, Tensor]:
    """Parameters detached and statistics copied: run with these, gradients reach the input only, nothing is kept."""
    state = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return state | {name: buffer.clone() for name, buffer in network.named_buffers()}


class DGNet:
    """The networks, their optimisers, and the iteration that trains them."""

    def __init__(self, networks: Networks, settings: Settings) -> None:
        self.networks = networks
        self.settings = settings
        rates = settings.optimizer
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "generator": _adam(networks.generator, rates.generator, rates.weight_decay),
            "discriminator": _adam(networks.discriminator, rates.discriminator, rates.weight_decay),
            "appearance": torch.optim.SGD(
                [
                    {"params": networks.appearance.backbone.parameters(), "lr": rates.backbone},
                    {"params": networks.appearance.heads.parameters(), "lr": rates.heads},
                ],
                momentum=0.9,
                nesterov=True,
                weight_decay=rates.weight_decay,
            ),
        }
        if settings.behaviour.compile:
            networks.generator.decoder.compile()
        self.base_rates = {name: [g["lr"] for g in o.param_groups] for name, o in self.optimizers.items()}

    def step(self, batch: Batch, iteration: int) -> dict[str, float]:
        """Train on one batch; returns the unweighted terms by name, `total`, and the discriminator's terms.

        Raises:
            FloatingPointError: a term is not finite; nothing was updated by it.
        """
        self._set_rates(iteration)
        seed_torch("dgnet: dropout", self.settings.seed, iteration)
        rng = draws("dgnet: erasing and branch", self.settings.seed, iteration)
        weights = schedule.weights(self.settings.loss, self.settings.schedule, iteration)
        with self._precision(batch.pictures.device):
            scene = self._draw(batch)
            report = self._train_discriminator(batch.pictures, scene.fakes.detach())
            terms = self._terms(batch, scene, weights, rng)
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        report |= {name: float(term.detach()) for name, term in terms.items()} | {"total": float(total.detach())}
        _refuse_nonfinite(report)
        trained = [*self.networks.generator.parameters(), *self.networks.appearance.parameters()]
        _backward(total, trained)
        self.optimizers["generator"].step()
        self.optimizers["appearance"].step()
        self._average(iteration)
        return report

    def _precision(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.settings.behaviour.precision == "bf16")

    def appearance_codes(self, pictures: Tensor) -> Tensor:
        """Appearance codes of [2B, 3, H, W], without gradient; each side is a batch of its own for batch norm."""
        encoder = self.networks.appearance
        batch_statistics = self.settings.behaviour.code_statistics == "batch"
        encoder.train(batch_statistics)
        sides = pictures.chunk(SIDES) if batch_statistics else (pictures,)
        with torch.no_grad():
            codes = torch.cat([encoder(side).appearance for side in sides])
        encoder.train()
        return codes

    def _draw(self, batch: Batch) -> Scene:
        generator = self.networks.generator
        structure = generator.structure(batch.pictures)
        appearance = self.appearance_codes(batch.pictures)
        adain = generator.adain(appearance)
        positive_adain = generator.adain(self.appearance_codes(batch.positives))
        return Scene(
            structure=structure,
            appearance=appearance,
            fakes=generator.decoder(partners(structure), adain),
            reconstruction=generator.decoder(structure, adain),
            same_identity=generator.decoder(structure, positive_adain),
        )

    def _train_discriminator(self, real: Tensor, fakes: Tensor) -> dict[str, float]:
        discriminator, weight = self.networks.discriminator, self.settings.loss
        if not weight.adversarial:
            return {}
        real = real.detach().requires_grad_(weight.gradient_penalty > 0)
        real_scores = discriminator(real)
        error = objectives.discriminator_error(real_scores, discriminator(fakes))
        report = {"discriminator": float(error.detach())}
        loss = error
        if weight.gradient_penalty:
            penalty = objectives.gradient_penalty(real_scores, real)
            report["gradient_penalty"] = float(penalty.detach())
            loss = loss + weight.gradient_penalty * penalty
        _refuse_nonfinite(report)
        _backward(weight.adversarial * loss, list(discriminator.parameters()))
        self.optimizers["discriminator"].step()
        return report

    def _terms(
        self, batch: Batch, scene: Scene, weights: dict[str, float], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        terms = {
            "reconstruction": objectives.reconstruction(scene.reconstruction, batch.pictures),
            "same_identity": objectives.reconstruction(scene.same_identity, batch.pictures),
        }
        if "adversarial" in weights:
            terms["adversarial"] = objectives.adversarial(self.networks.discriminator(scene.fakes))
        terms |= self._identification_terms(batch, weights, rng)
        terms |= self._code_terms(batch, scene, weights, encoder_learns=self._encoder_learns(rng))
        if self.networks.teacher is not None and "teacher" in weights:
            terms |= self._feeding_terms(self.networks.teacher, batch.labels, scene.fakes.detach(), weights)
        return {name: term for name, term in terms.items() if name in weights}

    def _encoder_learns(self, rng: np.random.Generator) -> bool:
        return bool(rng.random() < self.settings.loss.structure_branch)

    def _identification_terms(
        self, batch: Batch, weights: dict[str, float], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        encoder, probability = self.networks.appearance, self.settings.loss.erasing
        anchors = self._by_side(encoder, erase(batch.pictures, probability, rng))
        positives = self._by_side(encoder, erase(batch.positives, probability, rng))
        terms = {
            "identification": objectives.identification(anchors[0], batch.labels),
            "positive": objectives.identification(positives[0], batch.labels),
        }
        if "real_fine" in weights:
            terms["real_fine"] = objectives.identification(anchors[1], batch.labels)
        return terms

    def _code_terms(
        self, batch: Batch, scene: Scene, weights: dict[str, float], *, encoder_learns: bool
    ) -> dict[str, Tensor]:
        generator, terms = self.networks.generator, {}
        seen = self._frozen_appearance(scene.fakes)
        terms["generated_identity"] = objectives.identification(seen.logits[0], batch.labels)
        if "appearance_code" in weights:
            terms["appearance_code"] = objectives.reconstruction(seen.appearance, scene.appearance)
        if "structure_code" in weights or "cycle" in weights:
            if encoder_learns:
                seen_structure = generator.structure(scene.fakes.detach())
            else:
                encoder = generator.structure_encoder
                seen_structure = functional_call(encoder, frozen_state(encoder), (grey(scene.fakes),))
            donor_structure = partners(scene.structure).detach()
            terms["structure_code"] = objectives.reconstruction(seen_structure, donor_structure)
            cycle = generator(partners(seen_structure), seen.appearance.detach())
            terms["cycle"] = objectives.reconstruction(cycle, batch.pictures)
        return terms

    def _feeding_terms(
        self, teacher: ReidNetwork, labels: Tensor, fakes: Tensor, weights: dict[str, float]
    ) -> dict[str, Tensor]:
        teacher.train(self.settings.behaviour.teacher_statistics == "batch")
        soft_label = torch.cat([soft_labels(teacher, side) for side in fakes.chunk(SIDES)])
        logits = self._by_side(self.networks.appearance, fakes)
        terms = {"teacher": objectives.teacher_divergence(logits[0], soft_label)}
        if "fine" in weights:
            terms["fine"] = objectives.identification(logits[1], partners(labels))
        return terms

    def _by_side(self, encoder: ReidNetwork, pictures: Tensor) -> list[Tensor]:
        sides = [encoder(side).logits for side in pictures.chunk(SIDES)]
        return [torch.cat(parts) for parts in zip(*sides, strict=True)]

    def _frozen_appearance(self, fakes: Tensor) -> ReidOutput:
        encoder = self.networks.appearance
        batch_statistics = self.settings.behaviour.code_statistics == "batch"
        encoder.train(batch_statistics)
        seen: list[ReidOutput] = [
            functional_call(encoder, frozen_state(encoder), (side,), {"dropout": False})
            for side in (fakes.chunk(SIDES) if batch_statistics else (fakes,))
        ]
        encoder.train()
        prim = torch.cat([side.logits[0] for side in seen])
        return ReidOutput((prim,), (), torch.cat([side.appearance for side in seen]))

    def _set_rates(self, iteration: int) -> None:
        plan = self.settings.schedule
        factor = schedule.decay(plan.milestones, plan.gamma, iteration, plan.iterations)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.base_rates[name], strict=True):
                group["lr"] = rate * factor

    @torch.no_grad()
    def _average(self, iteration: int) -> None:
        decay = self.settings.optimizer.ema
        if self.settings.model.start == "none":
            decay = min(decay, (1 + iteration) / (10 + iteration))  # forget the random start sooner
        averaged = self.networks.averaged.parameters()
        for mean, value in zip(averaged, self.networks.generator.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)


class Scene(NamedTuple):
    """What the generator drew: row k of `fakes` is appearance k on the structure of its partner."""

    structure: Tensor
    appearance: Tensor
    fakes: Tensor
    reconstruction: Tensor
    same_identity: Tensor


def _adam(network: nn.Module, rate: float, weight_decay: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), rate, betas=(0.0, 0.999), weight_decay=weight_decay)


def _backward(loss: Tensor, parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None
    torch.autograd.backward(loss, inputs=parameters)


def _refuse_nonfinite(report: dict[str, float]) -> None:
    bad = [name for name, value in report.items() if not np.isfinite(value)]
    if bad:
        raise FloatingPointError(f"the loss term {bad[0]!r} is not finite")
