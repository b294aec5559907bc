"""Whether an iteration fits in a GPU's memory: tried with random images before the first one, with every term on."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch

from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.models.reid import AnyReidNetwork, ReidNetwork
from dgaug.settings import FeedSettings, ReidSettings, ScheduleSettings, Settings
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import SIDES, Batch
from dgaug.training.networks import build_networks
from dgaug.training.reid_losses import Feed, ReidTerms, fullest_iteration
from dgaug.training.sampling import SMALLEST_BATCH

Trial = Callable[[int], object]
"""Computes an iteration in so many micro-batches, and keeps nothing."""
BRANCHES = (1.0, 0.0)
"""Of the structure term, each taken for sure (`loss.structure_branch`)."""
_QUICK = {"compile": False, "graphs": False}
"""Of `behaviour`: what takes long to begin and is left out of a trial."""


def require_room(
    trial: Trial, plan: ScheduleSettings | ReidSettings, section: str, processes: Processes, *, begun: bool = False
) -> None:
    """Try an iteration of a plan on a GPU; on a CPU nothing is tried.

    Args:
        trial: raises torch's out-of-memory error where there is too little memory.
        plan: whose batch is tried, in its own micro-batches and, where they do not fit, in more and smaller ones.
        section: the name of its settings.
        processes: all of them hear of it when the memory of one is too small.
        begun: the run has iterations already, so its batches are settled.

    Raises:
        DgaugError: it does not fit; names the largest micro-batch that does.
    """
    if not _on_a_gpu(processes.device):
        return
    needed = processes.max(fewest_turns(trial, plan, processes.world_size))
    if needed == plan.accumulation:
        return
    shared = plan.batch_size // processes.world_size
    asked, sides = shared // plan.accumulation, "" if isinstance(plan, ReidSettings) else " on each side"
    head = f"{_described(processes.device)} has too little memory for {section}: {asked} images{sides} at a time do"
    if needed > plan.batch_size:
        remedy = "nor do 2: choose smaller data.height and data.width, a smaller model, or another --device"
    else:
        remedy = f"--set {section}.accumulation={needed} gives the same batches in {needed} parts"
        if begun:
            remedy = "a run that has begun keeps its batches, so continue it on another --device"
        remedy = f"{shared // needed} do; {remedy}"
    raise DgaugError(f"{head} not fit, {remedy}")


def fewest_turns(trial: Trial, plan: ScheduleSettings | ReidSettings, processes: int) -> int:
    """Into how many micro-batches a batch must be cut so that an iteration fits; more than the batch has: none fits."""
    for turns in range(plan.accumulation, plan.batch_size + 1):
        parts = processes * turns
        if plan.batch_size % parts or plan.batch_size // parts < SMALLEST_BATCH:
            continue
        if _fits(trial, turns):
            return turns
    return plan.batch_size + 1


def _fits(trial: Trial, turns: int) -> bool:
    try:
        trial(turns)
    except RuntimeError as error:
        if not isinstance(error, torch.cuda.OutOfMemoryError) and "out of memory" not in str(error).lower():
            raise
        return False
    finally:
        # What the trial held hangs on its frames, which are in cycles with the error.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return True


def _on_a_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


def _described(device: torch.device) -> str:
    free, whole = torch.cuda.mem_get_info(device)
    name = torch.cuda.get_device_name(device)
    return f"{device} ({name}, {free / 2**30:.1f} of {whole / 2**30:.1f} GiB free)"


def dgnet_trial(settings: Settings, classes: int, teacher: AnyReidNetwork, processes: Processes) -> Trial:
    """An iteration of DG-Net at the end of its schedule, with every term on, in both branches of the structure term."""

    def trial(turns: int) -> None:
        dgnet_step(settings, classes, teacher, processes, turns)()

    return trial


def dgnet_step(
    settings: Settings, classes: int, teacher: AnyReidNetwork, processes: Processes, turns: int
) -> Callable[[], None]:
    """The same as a function that computes an iteration of each branch, in `turns` micro-batches, when it is called."""
    plan, device = settings.schedule, processes.device
    size = plan.batch_size // processes.world_size
    networks = build_networks(settings, classes, weights="none")
    networks.teacher = copy.deepcopy(teacher)  # whose statistics an iteration may change
    networks.to(device)
    changed = {
        "schedule": plan.model_copy(update={"batch_size": size, "accumulation": turns}),
        "behaviour": settings.behaviour.model_copy(update=_QUICK),
    }
    branches = [settings.loss.model_copy(update={"structure_branch": branch}) for branch in BRANCHES]
    model = DGNet(networks, settings.model_copy(update=changed), Processes(device))
    images, positives = torch.randn(2, SIDES * (size // turns), 3, *settings.data.image_size, device=device)
    batch = Batch(images, positives, torch.arange(len(images), device=device) % classes)

    def step() -> None:
        for loss in branches:
            model.settings = model.settings.model_copy(update={"loss": loss})
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
