"""How many models a study trains and about how long that takes, from a few timed iterations on random images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch

from dgaug.data.records import IdentityData, class_names
from dgaug.device import default_device
from dgaug.distributed import Processes
from dgaug.models.architectures import ARCHITECTURES, teacher_architecture
from dgaug.models.reid import ReidNetwork
from dgaug.scores.retrieval.held_out import GALLERY, QUERY, TRAIN
from dgaug.settings import Settings
from dgaug.store.policies import policy_classes
from dgaug.studies.study import generated_per_step
from dgaug.training.trials import dgnet_trial, reid_trial

TIMED = 2
"""Iterations after one that warms up."""
FORWARD = 1 / 3
"""Of an iteration, what only the forward pass takes."""


@dataclass(frozen=True)
class Estimate:
    """What a study is made of.

    Attributes:
        generators: trained, or of an outside one applied.
        trials: models that choose the training length.
        models: models that are compared.
        steps: optimiser steps of all trials and models; of the models, at most.
        seconds: of everything on this machine in one process, at most.
    """

    generators: int
    trials: int
    models: int
    steps: int
    seconds: float

    def described(self) -> dict[str, object]:
        """As a dictionary."""
        return asdict(self)


def estimate(
    settings: Settings,
    model: str,
    data: IdentityData,
    *,
    generators: int,
    trained_here: bool,
    trials: Sequence[int],
    models: Sequence[int],
) -> Estimate:
    """Count the models of a study and estimate its seconds; `trials` and `models` are the steps of each."""
    processes, size = Processes(default_device()), settings.data.image_size
    reid = settings.reid.model_copy(
        update={"batch_size": settings.reid.batch_size + generated_per_step(settings.reid), "accumulation": 1}
    )
    names = class_names(data.splits[TRAIN])
    architecture = ARCHITECTURES[model](settings, len(policy_classes(reid.labels, names)))
    trial = reid_trial(reid, architecture, processes, image_size=size)
    step = _seconds(lambda: trial(1), processes.device)
    ranked = len(data.splits[QUERY]) + len(data.splits[GALLERY])
    # Each test image and its mirror pass once.
    evaluation = 2 * ranked / reid.batch_size * step * FORWARD
    seconds = (sum(trials) + sum(models)) * step + len(models) * evaluation
    if generators:
        seconds += generators * _generator_seconds(settings, len(names), processes, trained_here=trained_here)
    return Estimate(generators, len(trials), len(models), sum(trials) + sum(models), seconds)


def _generator_seconds(settings: Settings, classes: int, processes: Processes, *, trained_here: bool) -> float:
    architecture = teacher_architecture(settings, classes)
    trial = reid_trial(settings.teacher, architecture, processes, image_size=settings.data.image_size)
    seconds = settings.teacher.iterations * _seconds(lambda: trial(1), processes.device)
    if trained_here:
        both = dgnet_trial(settings, classes, ReidNetwork(**architecture), processes)
        # It computes an iteration in each of the two branches of the structure term.
        seconds += settings.schedule.iterations * _seconds(lambda: both(1), processes.device) / 2
    return seconds


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of one call."""
    work()
    _wait(device)
    began = time.perf_counter()
    for _ in range(TIMED):
        work()
    _wait(device)
    return (time.perf_counter() - began) / TIMED


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
