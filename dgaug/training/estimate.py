"""What a training takes on this machine: iterations timed on random images, and the plan that people read."""

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

GIB = 2**30
TIMED = 2
"""Iterations that are timed, after one of each kind that warms up."""
LONG = 5.0
"""Seconds of an iteration from which on those that warm up are those that count."""


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
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with training_math(settings.behaviour, device):
        progress("timing iterations", 0, 2)
        teacher, count = (0.0, 0) if settings.teacher.checkpoints else time_teacher(settings, classes, processes)
        progress("timing iterations", 1, 2)
        dgnet, more = time_dgnet(settings, classes, processes)
        progress("timing iterations", 2, 2)
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
    step = dgnet_step(settings, classes, judge, processes, settings.schedule.accumulation)
    return time_of(step, processes.device, iterations=len(BRANCHES))


def time_of(work: Callable[[], object], device: torch.device, *, iterations: int = 1) -> tuple[float, int]:
    """Seconds of one of the `iterations` that a call computes, and how many that is from; one call where it is long."""
    first = _seconds(work, device)
    if first >= LONG * iterations:
        return first / iterations, iterations
    calls = max(1, TIMED // iterations)
    return sum(_seconds(work, device) for _ in range(calls)) / (calls * iterations), calls * iterations


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


@dataclass(frozen=True)
class TrainingPlan:
    """The training that fits some data and this machine.

    Attributes:
        command: what starts it; empty where the data cannot be trained on.
        settings: all that it would train with.
        enough: whether there are identities and images enough for more than a try.
        remarks: what is odd with the data or was chosen for them, in sentences.
        device: what it was timed on.
        timed: iterations that the estimate comes from; 0: none was timed.
        seconds: estimate for the whole training; None: not timed.
        memory: estimate in bytes, of the GPU or of the process; None: not timed.
        free: bytes that are free there now.
    """

    command: str
    settings: Settings
    enough: bool
    remarks: tuple[str, ...]
    device: str
    timed: int = 0
    seconds: float | None = None
    memory: int | None = None
    free: int = 0

    def described(self) -> dict[str, object]:
        """As JSON has it."""
        names = ("command", "enough", "device", "seconds", "memory", "free")
        return {name: getattr(self, name) for name in names} | {
            "preset": self.settings.name,
            "image_size": list(self.settings.data.image_size),
            "iterations": {"teacher": teacher_iterations(self.settings), "dgnet": self.settings.schedule.iterations},
            "timed_iterations": self.timed,
            "remarks": list(self.remarks),
        }

    def lines(self) -> list[str]:
        """As people read it: the remarks, the command, what it takes."""
        if not self.command:
            return list(self.remarks)
        lines = [*self.remarks, f"next: {self.command}"]
        if self.seconds is None or self.memory is None:
            return lines
        teacher = teacher_iterations(self.settings)
        dgnet = f"{self.settings.schedule.iterations:,}"
        length = f"{teacher:,} iterations of the teacher and {dgnet} of DG-Net" if teacher else f"{dgnet} iterations"
        lines.append(
            f"estimate: {_duration(self.seconds)} and {self.memory / GIB:.1f} GiB of memory ({self.free / GIB:.1f} "
            f"GiB free) on {self.device} for {length}, from {self.timed} iterations timed on random images"
        )
        return lines


def teacher_iterations(settings: Settings) -> int:
    """Of the teacher that a training begins with; 0 where one is given."""
    return 0 if settings.teacher.checkpoints else settings.teacher.iterations


def _duration(seconds: float) -> str:
    for most, unit, name in ((90, 1, "seconds"), (90 * 60, 60, "minutes"), (48 * 3600, 3600, "hours")):
        if seconds < most:
            count = seconds / unit
            return f"about {count:.1f} {name}" if unit == 3600 else f"about {max(1, round(count))} {name}"
    return f"about {seconds / 86400:.1f} days"
