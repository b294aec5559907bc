"""One iteration of DG-Net training: the discriminator, then generator and appearance encoder (method: order)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from dgaug.chance import draws, seed_torch
from dgaug.models.arithmetic import arithmetic
from dgaug.processes import Processes
from dgaug.settings import Settings
from dgaug.training import schedule
from dgaug.training.erasing import draw_boxes
from dgaug.training.networks import Networks
from dgaug.training.objectives import SIDES
from dgaug.training.sampling import Share
from dgaug.training.terms import Batch, Codes, IterationTerms, Plan, Scene, Terms


class DGNet:
    """The networks, their optimisers, and the iteration that trains them."""

    def __init__(self, networks: Networks, settings: Settings, processes: Processes | None = None) -> None:
        self.networks = networks
        self.settings = settings
        self.processes = processes or Processes(torch.device("cpu"))
        self.share = Share(self.processes.index, self.processes.count, settings.schedule.accumulation)
        if settings.behaviour.arithmetic == "published":
            for network in networks.present():
                network.to(memory_format=torch.contiguous_format)
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
        self.terms = IterationTerms(networks, settings)

    def step(self, batches: Sequence[Batch], iteration: int) -> dict[str, float]:
        """Train on this process's share of a batch, in as many micro-batches as there are gradients to add up.

        Returns the unweighted terms by name, `total`, and the discriminator's terms: means over all shares.

        Raises:
            FloatingPointError: a term is not finite; generator and appearance encoder are as they were.
        """
        self._set_rates(iteration)
        plans = self._plans(batches, iteration)
        with self._forward():
            codes = [self.terms.codes(batch) for batch in batches]
            scenes = self._draw(batches, codes)
        report = self._train_discriminator(batches, [scene.fakes.leaf.detach() for scene in scenes])
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
        height, width = batches[0].pictures.shape[2:]
        side = len(batches[0].labels) // SIDES * self.share.count * self.share.turns
        boxes, positive_boxes = (draw_boxes(SIDES * side, (height, width), loss.erasing, rng) for _ in range(2))
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
        found = [
            self._add_gradients(self.terms.discriminator(batch.pictures, fake), weights, parameters)
            for batch, fake in zip(batches, fakes, strict=True)
        ]
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
            if not scene.fakes.whole.requires_grad:
                with self._forward():
                    scene = self.terms.draw(batch, code)
            groups = self.terms.generator(batch, code, scene, plan)
            inputs = [*parameters, *(cut.leaf for cut in scene)]
            terms = self._add_gradients(groups, plan.weights, inputs)
            scene.backward(parameters)
            total = torch.stack([plan.weights[name] * term for name, term in terms.items()]).sum()
            found.append(terms | {"total": total})
        return _mean(found)

    def _add_gradients(self, groups: Iterator[Terms], weights: Mapping[str, float], inputs: list[Tensor]) -> Terms:
        """Compute group after group and its gradients, freeing each before the next; the terms, detached."""
        found: Terms = {}
        while True:
            with self._forward():
                terms = next(groups, None)
            if terms is None:
                return found
            terms = {name: term for name, term in terms.items() if name in weights}
            if not terms:
                continue
            loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
            torch.autograd.backward(loss / self.share.turns, inputs=inputs)
            for name, term in terms.items():
                found[name] = found.get(name, 0) + term.detach()

    @contextmanager
    def _forward(self) -> Iterator[None]:
        """Precision and arithmetic of a forward pass."""
        behaviour, device = self.settings.behaviour, self.processes.device.type
        half = torch.autocast(device, torch.bfloat16, enabled=behaviour.precision == "bf16")
        with half, arithmetic(behaviour.arithmetic):
            yield

    def _parameters(self, *names: str) -> list[Tensor]:
        return [p for name in names for group in self.optimizers[name].param_groups for p in group["params"]]

    def _clear(self, *names: str) -> list[Tensor]:
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        return self._parameters(*names)

    def _update(self, *names: str) -> None:
        for name in names:
            parameters = self._parameters(name)
            self.processes.average_gradients(parameters)
            if self.settings.optimizer.clip:
                nn.utils.clip_grad_norm_(parameters, self.settings.optimizer.clip)
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
    return torch.optim.Adam(network.parameters(), rate, betas=(0.0, 0.999), weight_decay=weight_decay, fused=True)


def _compile(networks: Networks) -> None:
    """Compile what runs often and is differentiated once (the discriminator's penalty is differentiated twice)."""
    networks.generator.structure_encoder.compile()
    networks.generator.decoder.compile()


def _mean(found: Sequence[Terms]) -> Terms:
    return {name: torch.stack([terms[name].detach() for terms in found]).mean() for name in found[0]}


def _refuse_nonfinite(report: dict[str, float]) -> None:
    bad = [name for name, value in report.items() if not np.isfinite(value)]
    if bad:
        raise FloatingPointError(f"the loss term {bad[0]!r} is not finite")
