"""Iterations with random images that are computed once and thrown away: what `require_room` tries."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch

from dgaug.distributed import Processes
from dgaug.models.reid import AnyReidNetwork, ReidNetwork
from dgaug.settings import FeedSettings, ReidSettings, Settings
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import SIDES, Batch
from dgaug.training.networks import build_networks
from dgaug.training.reid_losses import Feed, ReidTerms, fullest_iteration
from dgaug.training.room import Trial

BRANCHES = (1.0, 0.0)
"""Of the structure term, each taken for sure (`loss.structure_branch`)."""
_QUICK = {"compile": False, "graphs": False}
"""Of `behaviour`: what takes long to begin and is left out of a trial."""


def dgnet_trial(settings: Settings, classes: int, teacher: AnyReidNetwork, processes: Processes) -> Trial:
    """An iteration of DG-Net at the end of its schedule, with every term on, in both branches of the structure term."""

    def trial(turns: int) -> None:
        for branch in BRANCHES:
            dgnet_step(settings, classes, teacher, processes, turns, branch)()

    return trial


def dgnet_step(
    settings: Settings, classes: int, teacher: AnyReidNetwork, processes: Processes, turns: int, branch: float
) -> Callable[[], None]:
    """The same as a function that computes the iteration, in `turns` micro-batches, each time it is called."""
    plan, device = settings.schedule, processes.device
    size = plan.batch_size // processes.world_size
    networks = build_networks(settings, classes, weights="none")
    networks.teacher = copy.deepcopy(teacher)  # whose statistics an iteration may change
    networks.to(device)
    changed = {
        "schedule": plan.model_copy(update={"batch_size": size, "accumulation": turns}),
        "behaviour": settings.behaviour.model_copy(update=_QUICK),
        "loss": settings.loss.model_copy(update={"structure_branch": branch}),
    }
    model = DGNet(networks, settings.model_copy(update=changed), Processes(device))
    images, positives = torch.randn(2, SIDES * (size // turns), 3, *settings.data.image_size, device=device)
    batch = Batch(images, positives, torch.arange(len(images), device=device) % classes)

    def step() -> None:
        with suppress(FloatingPointError):  # of random networks
            model.step([batch] * turns, plan.iterations - 1)

    return step


def reid_trial(
    settings: ReidSettings,
    architecture: Mapping[str, Any],
    processes: Processes,
    *,
    image_size: tuple[int, int],
    precision: str = "fp32",
    feed: Feed | None = None,
) -> Trial:
    """A micro-batch of a re-id network, with generated images where it is fed."""

    def trial(turns: int) -> None:
        reid_step(settings, architecture, processes, turns, image_size=image_size, precision=precision, feed=feed)()

    return trial


def reid_step(
    settings: ReidSettings,
    architecture: Mapping[str, Any],
    processes: Processes,
    turns: int,
    *,
    image_size: tuple[int, int],
    precision: str = "fp32",
    feed: Feed | None = None,
) -> Callable[[], None]:
    """The same as a function that computes one of `turns` micro-batches each time it is called."""
    size, device = settings.batch_size // processes.world_size, processes.device
    network = ReidNetwork(**architecture).to(device).train()
    terms = ReidTerms(network, settings)
    optimizer = torch.optim.SGD(network.parameters(), 0.0, momentum=0.9)
    fullest = fullest_iteration(settings) if isinstance(settings, FeedSettings) else 0
    generated = None if feed is None else feed(fullest)
    if generated is not None:
        generated = generated.part(range(-(-len(generated.images) // (turns * processes.world_size))))
    images = torch.randn(size // turns, 3, *image_size, device=device)
    labels = torch.arange(len(images), device=device) // settings.per_identity % network.classes

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            losses = terms(images, labels, generated)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        optimizer.step()

    return step
