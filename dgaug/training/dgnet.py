"""One iteration of DG-Net training: the discriminator, then generator and appearance encoder (method: order)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dgaug.chance import draws, seed_torch
from dgaug.processes import Processes
from dgaug.settings import Settings
from dgaug.training import schedule
from dgaug.training.erasing import draw_boxes
from dgaug.training.networks import Networks
from dgaug.training.objectives import SIDES
from dgaug.training.sampling import Share
from dgaug.training.terms import Batch, Codes, DiscriminatorTerms, GeneratorTerms, Plan, Scene, Terms


class DGNet:
    """The networks, their optimisers, and the iteration that trains them."""

    def __init__(self, networks: Networks, settings: Settings, processes: Processes | None = None) -> None:
        self.networks = networks
        self.settings = settings
        self.processes = processes or Processes(torch.device("cpu"))
        self.share = Share(self.processes.index, self.processes.count, settings.schedule.accumulation)
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
        self.base_rates = {name: [g["lr"] for g in o.param_groups] for name, o in self.optimizers.items()}
        if settings.behaviour.compile:
            _compile(networks)
        self.terms = GeneratorTerms(networks, settings)
        self._wrapped_terms = self.processes.wrap(self.terms, unused=True)  # until the ramps start
        self._wrapped_critic = self.processes.wrap(DiscriminatorTerms(networks, settings))

    def step(self, batches: Sequence[Batch], iteration: int) -> dict[str, float]:
        """Train on this process's share of a batch, in as many micro-batches as there are gradients to add up.

        Returns the unweighted terms by name, `total`, and the discriminator's terms: means over all shares.

        Raises:
            FloatingPointError: a term is not finite; generator and appearance encoder are as they were.
        """
        self._set_rates(iteration)
        plans = self._plans(batches, iteration)
        with self._precision():
            codes = [self.terms.codes(batch) for batch in batches]
            scenes = self._draw(batches, codes)
        report = self._train_discriminator(batches, [scene.fakes.detach() for scene in scenes])
        report |= self._gather_gradients(batches, codes, scenes, plans, iteration)
        said = dict(zip(report, self.processes.mean(torch.stack(list(report.values()))).tolist(), strict=True))
        _refuse_nonfinite(said)
        self._update("generator", "appearance")
        self.processes.average_statistics(self.networks.appearance)
        self._average(iteration)
        return said

    def _plans(self, batches: Sequence[Batch], iteration: int) -> list[Plan]:
        """Draws belong to the whole batch, so that they do not depend on how it is shared."""
        loss, plan = self.settings.loss, self.settings.schedule
        rng = draws("dgnet: erasing and branch", self.settings.seed, iteration)
        size = batches[0].pictures.shape[2:]
        side = len(batches[0].labels) // SIDES * self.share.count * self.share.turns
        boxes, positive_boxes = (draw_boxes(SIDES * side, (size[0], size[1]), loss.erasing, rng) for _ in range(2))
        weights = schedule.weights(loss, plan, iteration)
        encoder_learns = bool(rng.random() < loss.structure_branch)
        mine = [
            [first + place for first in range(0, SIDES * side, side) for place in self.share.rows(side, turn)]
            for turn in range(self.share.turns)
        ]
        return [
            Plan(weights, [boxes[row] for row in rows], [positive_boxes[row] for row in rows], encoder_learns)
            for rows in mine
        ]

    def _draw(self, batches: Sequence[Batch], codes: Sequence[Codes]) -> list[Scene]:
        """The scenes; one alone keeps its graph for the generator's turn, several are drawn again there."""
        with torch.set_grad_enabled(len(batches) == 1):
            return [self.terms.draw(batch, code) for batch, code in zip(batches, codes, strict=True)]

    def _train_discriminator(self, batches: Sequence[Batch], fakes: Sequence[Tensor]) -> Terms:
        loss = self.settings.loss
        if not loss.adversarial:
            return {}
        weights = {"discriminator": loss.adversarial, "gradient_penalty": loss.adversarial * loss.gradient_penalty}
        parameters = self._clear("discriminator")
        found = []
        for turn, (batch, fake) in enumerate(zip(batches, fakes, strict=True)):
            with self.processes.averaging(self._wrapped_critic, now=turn + 1 == len(batches)):
                with self._precision():
                    terms: Terms = self._wrapped_critic(batch.pictures, fake)
                self._backward(_weighted(terms, weights), parameters)
            found.append(terms)
        self._update("discriminator")
        return _mean(found)

    def _gather_gradients(
        self,
        batches: Sequence[Batch],
        codes: Sequence[Codes],
        scenes: Sequence[Scene],
        plans: Sequence[Plan],
        iteration: int,
    ) -> Terms:
        parameters = self._clear("generator", "appearance")
        found = []
        for turn, (batch, code, scene, plan) in enumerate(zip(batches, codes, scenes, plans, strict=True)):
            seed_torch("dgnet: dropout", self.settings.seed, iteration, self.share.index * self.share.turns + turn)
            with self.processes.averaging(self._wrapped_terms, now=turn + 1 == len(batches)):
                with self._precision():
                    drawn = scene if scene.fakes.requires_grad else self.terms.draw(batch, code)
                    terms: Terms = self._wrapped_terms(batch, code, drawn, plan)
                total = _weighted(terms, plan.weights)
                self._backward(total, parameters)
            found.append(terms | {"total": total})
        return _mean(found)

    def _precision(self) -> torch.autocast:
        half = self.settings.behaviour.precision == "bf16"
        return torch.autocast(self.processes.device.type, torch.bfloat16, enabled=half)

    def _backward(self, loss: Tensor, parameters: list[Tensor]) -> None:
        torch.autograd.backward(loss / self.share.turns, inputs=parameters)

    def _parameters(self, *names: str) -> list[Tensor]:
        return [p for name in names for group in self.optimizers[name].param_groups for p in group["params"]]

    def _clear(self, *names: str) -> list[Tensor]:
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        return self._parameters(*names)

    def _update(self, *names: str) -> None:
        for name in names:
            if self.settings.optimizer.clip:
                nn.utils.clip_grad_norm_(self._parameters(name), self.settings.optimizer.clip)
            self.optimizers[name].step()

    def _set_rates(self, iteration: int) -> None:
        plan = self.settings.schedule
        factor = schedule.decay(plan.milestones, plan.gamma, iteration, plan.iterations)
        factor *= schedule.warmup(self.settings.optimizer.warmup, iteration, plan.iterations)
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


def _adam(network: nn.Module, rate: float, weight_decay: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), rate, betas=(0.0, 0.999), weight_decay=weight_decay)


def _compile(networks: Networks) -> None:
    """Compile what runs often and is differentiated once (the discriminator's penalty is differentiated twice)."""
    networks.generator.structure_encoder.compile()
    networks.generator.decoder.compile()


def _weighted(terms: Terms, weights: dict[str, float]) -> Tensor:
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def _mean(found: Sequence[Terms]) -> Terms:
    return {name: torch.stack([terms[name].detach() for terms in found]).mean() for name in found[0]}


def _refuse_nonfinite(report: dict[str, float]) -> None:
    bad = [name for name, value in report.items() if not np.isfinite(value)]
    if bad:
        raise FloatingPointError(f"the loss term {bad[0]!r} is not finite")
