"""How long an iteration of training takes on this machine, and the memory it needs: timed on random images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dgaug.cuda_math import training_math
from dgaug.distributed import Processes
from dgaug.memory import peak_memory
from dgaug.models.architectures import teacher_architecture
from dgaug.models.reid import ReidNetwork
from dgaug.progress import Progress, silent
from dgaug.settings import Settings
from dgaug.training.trials import BRANCHES, dgnet_step, reid_step

TIMED = 2
"""Iterations after one that warms up."""
LONG = 5.0
"""Seconds from which on the one that warms up is the one that counts."""


@dataclass(frozen=True)
class Timing:
    """What a few iterations took.

    Attributes:
        teacher: seconds of an iteration of the teacher; 0 where none is trained.
        dgnet: seconds of an iteration of DG-Net, the mean of both branches of the structure term.
        iterations: how many were timed.
        memory: bytes at the peak: of the GPU, on a CPU of this whole process.
    """

    teacher: float
    dgnet: float
    iterations: int
    memory: int

    def seconds(self, settings: Settings) -> float:
        """Of the whole training: teacher and DG-Net, without previews, checkpoints and the reading of images."""
        return self.teacher * settings.teacher.iterations + self.dgnet * settings.schedule.iterations


def time_training(settings: Settings, classes: int, processes: Processes, *, progress: Progress = silent) -> Timing:
    """Time a few iterations of the teacher, unless one is given, and of DG-Net; keeps and writes nothing."""
    device = processes.device
    parts = len(BRANCHES) + 1
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with training_math(settings.behaviour, device):
        progress("timing iterations", 0, parts)
        teacher, count = (0.0, 0) if settings.teacher.checkpoints else time_teacher(settings, classes, processes)
        progress("timing iterations", 1, parts)
        dgnet, more = time_dgnet(settings, classes, processes)
        progress("timing iterations", parts, parts)
    memory = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else peak_memory()
    return Timing(teacher, dgnet, count + more, memory)


def time_teacher(settings: Settings, classes: int, processes: Processes) -> tuple[float, int]:
    """Seconds of an iteration of the teacher, and how many were timed."""
    turns = settings.teacher.accumulation
    step = reid_step(
        settings.teacher,
        teacher_architecture(settings, classes),
        processes,
        turns,
        image_size=settings.data.image_size,
        precision=settings.behaviour.precision,
    )
    seconds, count = time_of(step, processes.device)
    return seconds * turns, count


def time_dgnet(settings: Settings, classes: int, processes: Processes) -> tuple[float, int]:
    """Seconds of an iteration of DG-Net, the mean of both branches of the structure term, and how many were timed."""
    judge = ReidNetwork(**teacher_architecture(settings, classes))
    seconds, iterations = 0.0, 0
    for branch in BRANCHES:
        step = dgnet_step(settings, classes, judge, processes, settings.schedule.accumulation, branch)
        each, count = time_of(step, processes.device)
        seconds, iterations = seconds + each / len(BRANCHES), iterations + count
    return seconds, iterations


def time_of(work: Callable[[], object], device: torch.device) -> tuple[float, int]:
    """Seconds of one call, and how many calls that is from; one call alone where it takes long."""
    first = _seconds(work, device)
    if first >= LONG:
        return first, 1
    return sum(_seconds(work, device) for _ in range(TIMED)) / TIMED, TIMED


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
