"""Iterations with random images that are computed once and thrown away: what `require_room` tries."""

from __future__ import annotations

import copy
from collections.abc import Mapping
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

_QUICK = {"compile": False, "graphs": False}
"""Of `behaviour`: what takes long to begin and is left out of a trial."""


def dgnet_trial(settings: Settings, classes: int, teacher: AnyReidNetwork, processes: Processes) -> Trial:
    """An iteration of DG-Net at the end of its schedule, with every term on, in both branches of the structure term."""
    plan, device = settings.schedule, processes.device
    size = plan.batch_size // processes.world_size

    def trial(turns: int) -> None:
        networks = build_networks(settings, classes, weights="none")
        networks.teacher = copy.deepcopy(teacher)  # whose statistics an iteration may change
        networks.to(device)
        for branch in (1.0, 0.0):
            changed = {
                "schedule": plan.model_copy(update={"batch_size": size, "accumulation": turns}),
                "behaviour": settings.behaviour.model_copy(update=_QUICK),
                "loss": settings.loss.model_copy(update={"structure_branch": branch}),
            }
            model = DGNet(networks, settings.model_copy(update=changed), Processes(device))
            images, positives = torch.randn(2, SIDES * (size // turns), 3, *settings.data.image_size, device=device)
            batch = Batch(images, positives, torch.arange(len(images), device=device) % classes)
            with suppress(FloatingPointError):  # of random networks
                model.step([batch] * turns, plan.iterations - 1)

    return trial


def reid_trial(
    settings: ReidSettings,
    architecture: Mapping[str, Any],
    processes: Processes,
    *,
    image_size: tuple[int, int],
    precision: str = "fp32",
    feed: Feed | None = None,
) -> Trial:
    """An iteration of a re-id network, with generated images where it is fed."""
    size, device = settings.batch_size // processes.world_size, processes.device

    def trial(turns: int) -> None:
        network = ReidNetwork(**architecture).to(device).train()
        terms = ReidTerms(network, settings)
        optimizer = torch.optim.SGD(network.parameters(), 0.0, momentum=0.9)
        generated = (
            None if feed is None else feed(fullest_iteration(settings) if isinstance(settings, FeedSettings) else 0)
        )
        if generated is not None:
            generated = generated.part(range(-(-len(generated.images) // (turns * processes.world_size))))
        images = torch.randn(size // turns, 3, *image_size, device=device)
        labels = torch.arange(len(images), device=device) // settings.per_identity % network.classes
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            losses = terms(images, labels, generated)
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        optimizer.step()

    return trial
