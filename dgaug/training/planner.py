"""The training that fits some data and this machine: what was left open is chosen, what was given is kept."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dgaug.data.fitness import Shape, fitting_size, too_few, typical_shape
from dgaug.data.images import CACHE_SHARE
from dgaug.data.loading import MOST_THREADS, default_threads
from dgaug.data.prepare import read_data
from dgaug.data.records import IdentityData, Role, class_names
from dgaug.data.toy import is_toy
from dgaug.device import AUTO, default_device, on_device, require_precision
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.memory import free_memory
from dgaug.models import checkpoints
from dgaug.models.architectures import teacher_architecture
from dgaug.models.reid import ReidNetwork
from dgaug.models.weights import torchvision_weights
from dgaug.outputs import flat
from dgaug.presets import preset_names, read_config
from dgaug.progress import Progress, silent
from dgaug.settings import ReidSettings, ScheduleSettings, Settings, load_settings, setting_text, setting_texts
from dgaug.surroundings import as_found
from dgaug.training.estimate import GIB, Timing, TrainingPlan, time_training
from dgaug.training.initial_weights import pretrained_path
from dgaug.training.losses import SIDES
from dgaug.training.sampling import require_identities
from dgaug.training.trackers import require_tracker
from dgaug.training.trials import Trial, dgnet_trial, fewest_turns, reid_trial

ON_CPU, ON_GPU, EMBEDDED = "market1501-cpu", "market1501", "toy"
LONG = 2 * 24 * 3600
"""Seconds from which on a training on a CPU is better done with smaller settings."""
_FLOOR, _EACH = 900e6, 22e3
"""Bytes that an iteration needs on a CPU, and per pixel and unit of width of its images: about what was measured from
64 x 32 to 256 x 128."""


@as_found
@on_device
def plan_training(
    data: str | Path | None = None,
    config: str | Path | None = None,
    *,
    set: str | Iterable[str] = (),
    overrides: str | Iterable[str] = (),
    out: str | Path | None = None,
    teacher: str | Path | Sequence[str | Path] | None = None,
    seed: int | None = None,
    limit_identities: int | None = None,
    depth: str | None = None,
    compile: bool = False,
    from_scratch: bool = False,
    log: str | None = None,
    device: str = AUTO,
    progress: Progress = silent,
) -> TrainingPlan:
    """The training command that fits some data and this machine, with an estimate from a few timed iterations.

    Reads all training images, trains nothing and writes nothing. What you give is kept; what you leave open is chosen:
    the preset, the image size by the shape of the images, `data.workers` and micro-batches where they are needed.

    Args:
        data: as `dgaug.train` takes it, like all that follow; None: the embedded data.
        config: preset or YAML file; None: the preset that fits data and device.

    Raises:
        DgaugError: wrong use or bad input, as `dgaug.train` raises it.
    """
    given = [] if teacher is None else [teacher] if isinstance(teacher, (str, Path)) else list(teacher)
    flags = {
        "seed": seed,
        "data.root": None if data is None else str(data),
        "data.limit_identities": limit_identities,
        "data.depth": depth,
        "teacher.checkpoints": [str(path) for path in given] or None,
        "checkpoint.tracker": log,
        "behaviour.compile": True if compile else None,
        "model.start": "none" if from_scratch else None,
    }
    texts = setting_texts(overrides, set)
    typed = {
        "--data": data,
        "--config": config,
        "--set": texts,
        "--out": out,
        "--teacher": given,
        "--seed": seed,
        "--limit-identities": limit_identities,
        "--depth": depth,
        "--compile": compile,
        "--from-scratch": from_scratch,
        "--log": log,
        "--device": None if device == AUTO else device,
    }
    settings = load_settings(config or (None if data else EMBEDDED), overrides=texts, flags=flags)
    root = settings.data.root
    content = None if root is None else read_data(Path(root), settings.data, progress=progress)
    return _Planner(typed, flags).plan(content, progress)


@as_found
@on_device
def plan_for(
    data: IdentityData,
    folder: str | Path,
    *,
    reading: Mapping[str, str | None],
    depth: str,
    damaged: Collection[str],
    device: str = AUTO,
    progress: Progress = silent,
) -> TrainingPlan:
    """The same for data that were read already; without a command where they cannot be trained on.

    Args:
        data: what was read.
        folder: as it was named.
        reading: settings of `data` that it was read with; those as by default are left out of the command.
        depth: of 16-bit images, see `dgaug.train`.
        damaged: paths of the training images that are, and have to be left out.
    """
    usual = Settings().data
    read = {name: value for name, value in reading.items() if value is not None and value != getattr(usual, name)}
    texts = [setting_text(f"data.{name}", value) for name, value in read.items()]
    texts += ["data.damaged=skip"] if damaged else []
    deep = None if depth == usual.depth else depth
    typed = {"--data": folder, "--config": None, "--set": texts, "--depth": deep}
    usable = [record for record in data.splits.get("train", []) if record.path not in damaged]
    train = [record for record in usable if record.role is Role.IDENTITY]
    kept = replace(data, splits={"train": train})
    return _Planner(typed, {"data.root": str(folder), "data.depth": deep}).plan(kept, progress)


_NO_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc")


class _Planner:
    """Chooses what was left open, and says why."""

    def __init__(self, typed: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
        self.typed = dict(typed)
        self.flags = flags
        self.added: list[str] = []
        self.remarks: list[str] = []

    def plan(self, data: IdentityData | None, progress: Progress) -> TrainingPlan:
        device = default_device()
        records = [] if data is None else data.splits["train"]
        few = [] if data is None else too_few(records)
        self.remarks += few
        if data is not None and self.typed["--config"] is None and not self._fits_a_network():
            self.typed["--config"] = _preset(data, device)
        settings = self._settings()
        if data is not None and len(class_names(records)) < 2:
            return TrainingPlan("", settings, False, tuple(few), _named(device))
        _require(settings, device, data)
        shape = None if data is None else typical_shape(data)
        self._fit_size(settings, shape)
        self._fit_weights(settings)
        settings = self._settings()
        classes = settings.toy.identities if data is None else len(class_names(records))
        images = settings.toy.identities * settings.toy.images_per_identity if data is None else len(records)
        kept = images * math.prod(settings.data.image_size) * 3
        try:
            timing = self._time(settings, classes, device, progress)
        except RuntimeError as error:
            if device.type == "cpu":
                raise
            timing = None
            self.remarks.append(f"not timed: {_named(device)}: {str(error).strip().partition(chr(10))[0]}")
        if timing is None:
            return TrainingPlan(self._command(), settings, not few, tuple(self.remarks), _named(device))
        settings = self._settings()
        self._fit_workers(settings, shape, device, timing, fits=kept <= CACHE_SHARE * free_memory())
        seconds = timing.seconds(settings)
        if settings.schedule.adversarial_start:
            self.remarks.append("iterations before schedule.adversarial_start are shorter than the estimate has them")
        if device.type == "cpu" and _load() > 1:
            self.remarks.append("other work keeps the cores of this machine busy: without it training is faster")
        if device.type == "cpu" and seconds > LONG and settings.name != ON_CPU:
            self.remarks.append(f"these settings are for a GPU: --config {ON_CPU} is made for a CPU")
        on_gpu = device.type == "cuda"
        free = torch.cuda.mem_get_info(device)[0] if on_gpu else free_memory()
        memory = timing.memory + (0 if on_gpu else int(min(kept, CACHE_SHARE * free)))
        return TrainingPlan(
            self._command(),
            self._settings(),
            not few,
            tuple(self.remarks),
            _named(device),
            timing.iterations,
            seconds,
            memory,
            free,
        )

    def _settings(self) -> Settings:
        texts = [*self.typed["--set"], *self.added]
        config = self.typed["--config"] or (None if self.flags.get("data.root") else EMBEDDED)
        return load_settings(config, overrides=texts, flags=self.flags)

    def _is_typed(self, *names: str) -> bool:
        """Whether one of these settings was given, by `--set` or in a file of the user's own."""
        config = self.typed["--config"]
        file = {} if config is None or str(config) in preset_names() else flat(read_config(config), ".")
        return any(name in names for name in (*file, *(text.partition("=")[0].strip() for text in self.typed["--set"])))

    def _fits_a_network(self) -> bool:
        """Whether a teacher or a generator to start from was given, whose size no preset may change."""
        return bool(self.flags.get("teacher.checkpoints")) or self._is_typed("teacher.checkpoints", "model.start")

    def _fit_size(self, settings: Settings, shape: Shape | None) -> None:
        size = settings.data.image_size
        fitting = size if shape is None else fitting_size(size, shape.ratio)
        if shape is None or fitting == size:
            return
        texts = [f"data.height={fitting[0]}", f"data.width={fitting[1]}"]
        odd = f"the images are {shape.ratio:.2g} times as high as wide, and {size[0]} x {size[1]} would squeeze them"
        if self._is_typed("data.height", "data.width") or self._fits_a_network():
            self.remarks.append(f"{odd}: --set {' --set '.join(texts)} fits them")
        else:
            self.remarks.append(f"{odd}: {fitting[0]} x {fitting[1]} fits them")
            self.added += texts

    def _fit_weights(self, settings: Settings) -> None:
        model = settings.model
        if model.weights in ("none", "download"):
            return
        try:
            torchvision_weights(model.backbone, model.weights)
        except DgaugError as error:
            if "model.weights=download" not in str(error) or self._is_typed("model.weights"):
                raise
            self.remarks.append(
                f"the ImageNet weights of {model.backbone} are not on this machine: model.weights=download fetches "
                "them, =FILE names a file, =none starts from random weights"
            )
            self.added.append("model.weights=download")

    def _time(self, settings: Settings, classes: int, device: torch.device, progress: Progress) -> Timing | None:
        needed, free = _roughly_needed(settings), free_memory()
        if device.type == "cuda" and not self._fit_memory(settings, classes, device):
            return None
        settings = self._settings()
        if device.type == "cpu" and needed > free:
            self.remarks.append(
                f"not timed: an iteration needs about {needed / GIB:.1f} GiB of memory and {free / GIB:.1f} GiB are "
                "free; free some, or lower data.height and data.width, or raise schedule.accumulation and "
                "teacher.accumulation (the same batches in parts)"
            )
            return None
        try:
            return time_training(settings, classes, Processes(device), progress=progress)
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not any(text in str(error).lower() for text in _NO_MEMORY):
                raise
            self.remarks.append(f"not timed: too little memory for an iteration, {free / GIB:.1f} GiB were free")
            return None

    def _fit_memory(self, settings: Settings, classes: int, device: torch.device) -> bool:
        """Into how many micro-batches batches must be cut on a GPU; whether they fit then."""
        processes, architecture = Processes(device), teacher_architecture(settings, classes)
        size, precision = settings.data.image_size, settings.behaviour.precision
        judge = ReidNetwork(**architecture)
        trials: list[tuple[str, ScheduleSettings | ReidSettings, Trial]] = [
            ("schedule", settings.schedule, dgnet_trial(settings, classes, judge, processes))
        ]
        if not settings.teacher.checkpoints:
            trial = reid_trial(settings.teacher, architecture, processes, image_size=size, precision=precision)
            trials.append(("teacher", settings.teacher, trial))
        for section, plan, trial in trials:
            turns = fewest_turns(trial, plan, 1)
            if turns > plan.batch_size:
                self.remarks.append(
                    f"not timed: {_named(device)} has too little memory for {section}, whatever the batch: choose "
                    "smaller data.height and data.width, or another --device"
                )
                return False
            if turns > plan.accumulation:
                self.remarks.append(f"{_named(device)} has memory for {section} only in {turns} micro-batches")
                self.added.append(f"{section}.accumulation={turns}")
        return True

    def _fit_workers(
        self, settings: Settings, shape: Shape | None, device: torch.device, timing: Timing, *, fits: bool
    ) -> None:
        if shape is None or fits or settings.data.workers is not None:
            return
        share = shape.seconds * 2 * SIDES * settings.schedule.batch_size / timing.dgnet
        threads = min(math.ceil(share), MOST_THREADS, os.cpu_count() or 1)
        if share < 0.25 or threads <= default_threads(device):
            return
        self.remarks.append(
            f"the images do not fit in a quarter of the free memory and take {shape.seconds * 1000:.0f} ms each to "
            f"read: {threads} threads read ahead"
        )
        self.added.append(f"data.workers={threads}")

    def _command(self) -> str:
        words = ["dgaug", "train"]
        for flag, value in (self.typed | {"--set": [*self.typed["--set"], *self.added]}).items():
            if value is True:
                words.append(flag)
            elif isinstance(value, list):
                words += [word for each in value for word in (flag, str(each))]
            elif value is not None and value is not False:
                words += [flag, str(value)]
        return shlex.join(words)


def _require(settings: Settings, device: torch.device, data: IdentityData | None) -> None:
    """What `train` requires before it makes anything, but for weights, which it may fetch."""
    require_tracker(settings.checkpoint.tracker)
    require_precision(settings.behaviour.precision, device, option="--set behaviour.precision=")
    require_identities(settings.schedule, "schedule")
    require_identities(settings.teacher, "teacher")
    pretrained_path(settings.model.start)
    for judge in checkpoints.load_teachers([Path(path) for path in settings.teacher.checkpoints]):
        if data is not None:
            names = class_names(data.splits["train"])
            judge.require(names, settings.data.image_size, source=str(settings.data.root))


def _preset(data: IdentityData, device: torch.device) -> str:
    if is_toy(data.root):
        return EMBEDDED
    if device.type == "cpu":
        return ON_CPU
    return data.layout if data.layout in preset_names() else ON_GPU


def _roughly_needed(settings: Settings) -> float:
    plan, pixels = settings.schedule, math.prod(settings.data.image_size)
    return _FLOOR + _EACH * pixels * plan.batch_size / plan.accumulation * settings.model.width


def _load() -> float:
    """How many processes want a core, for each core; 0 where the system does not say."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except OSError:
        return 0.0


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"the CPU ({threads} {'thread' if threads == 1 else 'threads'})"
