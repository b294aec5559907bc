"""One iteration of DG-Net training: the discriminator, then generator and appearance encoder (method: order)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dgaug.distributed import Processes
from dgaug.models.blocks import arithmetic
from dgaug.seeding import draws, seed_torch
from dgaug.settings import Settings
from dgaug.training import schedule
from dgaug.training.augmentation import sample_boxes
from dgaug.training.graphs import IterationGraphs
from dgaug.training.losses import SIDES, STRUCTURE_TERMS, Batch, Codes, IterationTerms, Plan, Scene, Terms
from dgaug.training.networks import Networks, counters_together
from dgaug.training.sampling import Share
from dgaug.training.structure_input import sample_numbers


class Report(Mapping[str, float]):
    """Terms by name; beside a GPU they are read from it, which waits for it, when the first is asked for."""

    def __init__(self, names: Sequence[str], values: Tensor) -> None:
        self._names = names
        self.values_on_device = values
        self._read: dict[str, float] | None = None

    def require_finite(self) -> None:
        """Raise FloatingPointError naming a term that is not finite."""
        bad = [name for name, value in self.items() if not np.isfinite(value)]
        if bad:
            raise FloatingPointError(f"the loss term {bad[0]!r} is not finite")

    def __getitem__(self, name: str) -> float:
        if self._read is None:
            self._read = dict(zip(self._names, self.values_on_device.tolist(), strict=True))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class FirstHalf(NamedTuple):
    """What the generator's half of an iteration needs of the discriminator's, and the terms found there."""

    codes: list[Codes]
    scenes: list[Scene]
    terms: Terms


class DGNet:
    """The networks, their optimisers, and the iteration that trains them."""

    def __init__(self, networks: Networks, settings: Settings, processes: Processes | None = None) -> None:
        self.networks = networks
        self.settings = settings
        self.processes = processes or Processes(torch.device("cpu"))
        self.share = Share(self.processes.rank, self.processes.world_size, settings.schedule.accumulation)
        on_gpu = self.processes.device.type == "cuda"
        if settings.behaviour.arithmetic == "published":
            for network in networks.present():
                network.to(memory_format=torch.contiguous_format)
        elif on_gpu:
            networks.discriminator.to(memory_format=torch.channels_last)
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
        if settings.behaviour.compile and settings.behaviour.arithmetic == "fast":
            _compile(networks, on_gpu=on_gpu)
        self.terms = IterationTerms(networks, settings)
        self.graphs = IterationGraphs() if settings.behaviour.graphs and on_gpu else None

    def step(self, batches: Sequence[Batch], iteration: int) -> Report:
        """Train on this process's share of a batch, in as many micro-batches as there are gradients to add up.

        Nothing here waits for a GPU; reading the report does.

        Returns the unweighted terms by name, `total`, and the discriminator's terms: means over all shares.

        Raises:
            FloatingPointError: a term is not finite; generator and appearance encoder are as they were. With a GPU
                only `Report.require_finite` raises it, later.
        """
        on_gpu = self.processes.device.type == "cuda"
        self._set_rates(iteration)
        plans = self._plans(batches, iteration)
        captured = self.graphs.of(self, batches, plans) if self.graphs else None
        if captured is None:
            half = self.discriminator_half(batches, plans)
            terms = half.terms
            self._update("discriminator")
            terms |= self.generator_half(batches, half, plans, iteration)
        else:
            terms = captured.discriminator_half(batches[0], plans[0])
            self._update("discriminator")
            self._seed_dropout(iteration, turn=0)
            terms |= captured.generator_half()
        report = Report(list(terms), self.processes.mean(torch.stack(list(terms.values()))))
        if not on_gpu:
            report.require_finite()
        self._update("generator", "appearance")
        self.processes.average_statistics(self.networks.appearance)
        self._update_ema(iteration)
        return report

    def _plans(self, batches: Sequence[Batch], iteration: int) -> list[Plan]:
        """Draws belong to the whole batch, so that they do not depend on how it is shared."""
        loss, plan = self.settings.loss, self.settings.schedule
        rng = draws("dgnet: erasing and branch", self.settings.seed, iteration)
        height, width = batches[0].images.shape[2:]
        side = len(batches[0].labels) // SIDES * self.share.world_size * self.share.turns
        boxes = torch.tensor([sample_boxes(SIDES * side, (height, width), loss.erasing, rng) for _ in range(2)])
        weights = schedule.weights(loss, plan, iteration)
        encoder_learns = bool(rng.random() < loss.structure_branch) and not weights.keys().isdisjoint(STRUCTURE_TERMS)
        mine = [
            [first + place for first in range(0, SIDES * side, side) for place in self.share.rows(side, turn)]
            for turn in range(self.share.turns)
        ]
        rng = draws("dgnet: structure input", self.settings.seed, iteration)
        sampled = [sample_numbers(SIDES * side, self.settings.structure_input, rng) for _ in range(2)]
        greys = torch.stack(sampled)
        return [Plan(weights, boxes[:, rows], encoder_learns, greys[:, rows]) for rows in mine]

    def discriminator_half(self, batches: Sequence[Batch], plans: Sequence[Plan]) -> FirstHalf:
        """Codes, generated images, and the discriminator's gradients.

        One batch alone keeps its graph for the generator's turn; of several the images are generated again there.
        """
        with self._forward(), counters_together(self.networks.appearance):
            codes = [self.terms.codes(batch) for batch in batches]
            with torch.set_grad_enabled(len(batches) == 1):
                scenes = [self.terms.generate(*given) for given in zip(batches, codes, plans, strict=True)]
            fakes = [scene.fakes.leaf.detach() for scene in scenes]
            return FirstHalf(codes, scenes, self._discriminator_gradients(batches, fakes, plans))

    def _discriminator_gradients(
        self, batches: Sequence[Batch], fakes: Sequence[Tensor], plans: Sequence[Plan]
    ) -> Terms:
        loss = self.settings.loss
        parameters = self._clear("discriminator")
        if "adversarial" not in plans[0].weights:
            return {}
        weights = {"discriminator": loss.adversarial, "gradient_penalty": loss.adversarial * loss.gradient_penalty}
        values = [
            self._add_gradients(self.terms.discriminator(batch, fake), weights, parameters)
            for batch, fake in zip(batches, fakes, strict=True)
        ]
        return _mean(values)

    def generator_half(
        self, batches: Sequence[Batch], half: FirstHalf, plans: Sequence[Plan], iteration: int | None
    ) -> Terms:
        """Gradients of generator and appearance encoder; `iteration` seeds dropout, None leaves that to the caller."""
        parameters = self._clear("generator", "appearance")
        values = []
        with self._forward(), counters_together(self.networks.appearance):
            for turn, (batch, code, scene, plan) in enumerate(
                zip(batches, half.codes, half.scenes, plans, strict=True)
            ):
                if iteration is not None:
                    self._seed_dropout(iteration, turn)
                if not scene.fakes.whole.requires_grad:
                    scene = self.terms.generate(batch, code, plan)
                groups = self.terms.generator(batch, code, scene, plan)
                inputs = [*parameters, *(cut.leaf for cut in scene)]
                terms = self._add_gradients(groups, plan.weights, inputs)
                with torch.autocast(batch.images.device.type, enabled=False):
                    scene.backward(parameters)
                total = torch.stack([plan.weights[name] * term for name, term in terms.items()]).sum()
                values.append(terms | {"total": total})
        return _mean(values)

    def _seed_dropout(self, iteration: int, turn: int) -> None:
        seed_torch("dgnet: dropout", self.settings.seed, iteration, self.share.rank * self.share.turns + turn)

    def _add_gradients(
        self, groups: Iterator[Terms], weights: Mapping[str, float] | Mapping[str, Tensor], inputs: list[Tensor]
    ) -> Terms:
        """Compute group after group and its gradients, freeing each before the next; the terms, detached."""
        values: Terms = {}
        for group in groups:
            terms = {name: term for name, term in group.items() if name in weights}
            if not terms:
                continue
            loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
            with torch.autocast(loss.device.type, enabled=False):
                torch.autograd.backward(loss / self.share.turns, inputs=inputs)
            for name, term in terms.items():
                values[name] = values.get(name, 0) + term.detach()
        return values

    @contextmanager
    def _forward(self) -> Iterator[None]:
        """Precision and arithmetic of forward passes; inside, each weight is cast to half precision once."""
        behaviour, device = self.settings.behaviour, self.processes.device.type
        half = torch.autocast(device, torch.bfloat16, enabled=behaviour.precision == "bf16")
        with half, arithmetic(behaviour.arithmetic):
            yield

    def parameters(self, *names: str) -> list[Tensor]:
        """The parameters of some optimisers, by name."""
        return [p for name in names for group in self.optimizers[name].param_groups for p in group["params"]]

    def _clear(self, *names: str) -> list[Tensor]:
        for name in names:
            self.optimizers[name].zero_grad(set_to_none=True)
        return self.parameters(*names)

    def _update(self, *names: str) -> None:
        for name in names:
            parameters = self.parameters(name)
            self.processes.average_gradients(parameters)
            if self.settings.optimizer.clip:
                nn.utils.clip_grad_norm_(parameters, self.settings.optimizer.clip)
            self.optimizers[name].step()

    def load_optimizers(self, states: Mapping[str, dict[str, Any]]) -> None:
        """Take the state of optimisers from a checkpoint, whatever device it was written on."""
        for name, state in states.items():
            optimizer = self.optimizers[name]
            optimizer.load_state_dict(state)
            for parameter, own in optimizer.state.items():
                for key, value in own.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        own[key] = torch.empty_like(parameter).copy_(value)  # fused kernels need its layout

    def _set_rates(self, iteration: int) -> None:
        plan = self.settings.schedule
        factor = schedule.decay(plan.milestones, plan.gamma, iteration, plan.iterations)
        factor *= schedule.warmup(self.settings.optimizer.warmup, iteration, plan.iterations)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self.base_rates[name], strict=True):
                group["lr"] = rate * factor

    @torch.no_grad()
    def _update_ema(self, iteration: int) -> None:
        decay = self.settings.optimizer.ema
        if self.settings.model.start == "none":
            decay = min(decay, (1 + iteration) / (10 + iteration))  # forget the random start sooner
        averaged, values = (
            tuple(network.parameters()) for network in (self.networks.generator_ema, self.networks.generator)
        )
        torch._foreach_lerp_(averaged, values, 1 - decay)


def _adam(network: nn.Module, rate: float, weight_decay: float) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), rate, betas=(0.0, 0.999), weight_decay=weight_decay, fused=True)


def _compile(networks: Networks, *, on_gpu: bool) -> None:
    """Compile what runs often and learns; on a CPU backbones and discriminator would gain nothing in minutes."""
    networks.generator.structure_encoder.compile()
    networks.generator.decoder.compile()
    if on_gpu:
        networks.discriminator.compile()
        networks.appearance.backbone.compile()


def _mean(turns: Sequence[Terms]) -> Terms:
    return {name: torch.stack([terms[name].detach() for terms in turns]).mean() for name in turns[0]}
