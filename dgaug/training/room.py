"""Whether an iteration fits in a GPU's memory, tried before the first one and with every term on."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.settings import ReidSettings, ScheduleSettings
from dgaug.training.sampling import SMALLEST_BATCH

Trial = Callable[[int], object]
"""Computes an iteration in so many micro-batches, and keeps nothing."""


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
