"""How many models a study trains and about how long that takes, from a few timed iterations on random images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dgaug.data.records import IdentityData, class_names
from dgaug.device import default_device
from dgaug.distributed import Processes
from dgaug.models.architectures import ARCHITECTURES
from dgaug.scores.retrieval.held_out import GALLERY, QUERY, TRAIN
from dgaug.settings import Settings
from dgaug.store.policies import policy_classes
from dgaug.studies.study import generated_per_step
from dgaug.training.estimate import time_dgnet, time_of, time_teacher
from dgaug.training.trials import reid_step

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
    step, _ = time_of(reid_step(reid, architecture, processes, 1, image_size=size), processes.device)
    ranked = len(data.splits[QUERY]) + len(data.splits[GALLERY])
    # Each test image and its mirror pass once.
    evaluation = 2 * ranked / reid.batch_size * step * FORWARD
    seconds = (sum(trials) + sum(models)) * step + len(models) * evaluation
    if generators:
        seconds += generators * _generator_seconds(settings, len(names), processes, trained_here=trained_here)
    return Estimate(generators, len(trials), len(models), sum(trials) + sum(models), seconds)


def _generator_seconds(settings: Settings, classes: int, processes: Processes, *, trained_here: bool) -> float:
    seconds = settings.teacher.iterations * time_teacher(settings, classes, processes)[0]
    if trained_here:
        seconds += settings.schedule.iterations * time_dgnet(settings, classes, processes)[0]
    return seconds
