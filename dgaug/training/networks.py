"""The networks of a DG-Net run, and the modes that an iteration runs them in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dgaug.models.checkpoints import appearance_network
from dgaug.models.discriminator import Discriminator
from dgaug.models.generator import Generator
from dgaug.models.reid import AnyReidNetwork, ReidNetwork
from dgaug.settings import Settings

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass
class Networks:
    """The networks of a run; `teacher` is None when nothing is fed back, `generator_ema` is its EMA."""

    generator: Generator
    generator_ema: Generator
    appearance: ReidNetwork
    discriminator: Discriminator
    teacher: AnyReidNetwork | None = None

    def to(self, device: torch.device) -> Networks:
        """Move every network to a device."""
        for network in self.present():
            network.to(device)
        return self

    def present(self) -> list[nn.Module]:
        """Every network that there is."""
        return [*self.saved().values(), *([] if self.teacher is None else [self.teacher])]

    def saved(self) -> dict[str, nn.Module]:
        """What a checkpoint holds, by name; the teacher has a file of its own."""
        return {
            "generator": self.generator,
            "averaged": self.generator_ema,
            "appearance": self.appearance,
            "discriminator": self.discriminator,
        }


def build_networks(settings: Settings, classes: int, *, weights: str | None = None) -> Networks:
    """Fresh networks for `classes` identities; `weights` replaces the setting of the backbone's weights."""
    model, size = settings.model, settings.data.image_size
    appearance = appearance_network(settings, classes, weights=weights)
    generator = Generator(size, appearance.code_length, model.width)
    generator_ema = copy.deepcopy(generator).requires_grad_(False)
    generator_ema.compute_as(settings.behaviour.arithmetic)
    discriminator = Discriminator(size, model.width, model.discriminator)
    return Networks(generator, generator_ema, appearance, discriminator)


def frozen_state(network: nn.Module) -> dict[str, Tensor]:
    """Parameters detached: run with these, gradients reach the input only.

    Statistics are copies where a pass would change them (training mode), so nothing is kept.
    """
    state = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return state | ({name: buffer.clone() for name, buffer in network.named_buffers()} if network.training else {})


@contextmanager
def counters_together(network: nn.Module) -> Iterator[None]:
    """Advance the counters `num_batches_tracked` of all batch norms at the end of a block, by what the first counted.

    Nothing reads them (`momentum` is set), but checkpoints hold them; one by one they cost a kernel each in every pass.
    """
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    counted = [(norm, norm.num_batches_tracked) for norm in norms if norm.num_batches_tracked is not None]
    if len(counted) < 2:
        yield
        return
    (_, first), *others = counted
    before = first.clone()
    for norm, _counter in others:
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, counter in others:
            norm.num_batches_tracked = counter
        torch._foreach_add_([counter for _norm, counter in others], [first - before] * len(others))


def training_mode(network: nn.Module, *, statistics: str) -> None:
    """Dropout on; batch norm with the statistics of its batch or, `frozen`, with those it has."""
    network.train()
    if statistics == "frozen":
        for module in network.modules():
            if isinstance(module, _NORMS):
                module.eval()
