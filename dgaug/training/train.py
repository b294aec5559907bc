"""`dgaug train`: the data, the teacher, then DG-Net, in a run folder that can always be resumed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from dgaug.cuda_math import training_math
from dgaug.data.prepare import read_data, write_embedded_data
from dgaug.data.recorded import described, place_of, require_fingerprint, require_recorded, write_records
from dgaug.data.records import IdentityData, class_names
from dgaug.data.toy import is_toy
from dgaug.device import AUTO, on_device, require_precision
from dgaug.distributed import Processes
from dgaug.errors import Interrupted
from dgaug.models import checkpoints
from dgaug.models.architectures import teacher_architecture
from dgaug.models.backbones import create_backbone
from dgaug.models.checkpoints import ReidModel
from dgaug.models.reid import ReidNetwork
from dgaug.outputs import already_complete, remove, require_only, require_same_settings
from dgaug.progress import Progress, silent
from dgaug.runs import PARTS, Run, locked, new_run, newest_run
from dgaug.settings import Settings, decisive, load_settings, parse_settings, setting_texts
from dgaug.surroundings import as_found
from dgaug.training.batches import LabelledImages
from dgaug.training.dgnet_loop import Training, train_dgnet
from dgaug.training.initial_weights import pretrained_path
from dgaug.training.log import TrainingLog
from dgaug.training.reid_loop import ReidJob, train_reid_network
from dgaug.training.sampling import Share, require_identities
from dgaug.training.trackers import require_tracker
from dgaug.training.trials import dgnet_trial, reid_trial, require_room

_BEFORE_CONFIG = {"data", "data.part", "environment.json"}
"""What a run that was killed at its very start may hold."""

_log = logging.getLogger("dgaug")


@as_found
@on_device
def train(
    data: str | Path | None = None,
    config: str | Path | None = None,
    *,
    set: str | Iterable[str] = (),
    overrides: str | Iterable[str] = (),
    out: str | Path | None = None,
    teacher: str | Path | Sequence[str | Path] | None = None,
    resume: bool = False,
    seed: int | None = None,
    limit_identities: int | None = None,
    depth: str | None = None,
    compile: bool = False,
    from_scratch: bool = False,
    log: str | None = None,
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> Run:
    """Train a teacher (unless one is given) and DG-Net; returns the run, complete.

    Args:
        data: a data set in any known layout; None writes and uses the embedded one.
        config: preset or YAML file; None: the preset `toy` without data, else the defaults.
        set: `section.name=value` texts, as of `--set`.
        overrides: the same.
        out: the run folder; None opens the next number under `runs/`.
        teacher: a re-id checkpoint of dgaug to use instead of training one; of several, the soft labels are averaged.
        resume: the run at `out` (or the newest one), with its own settings.
        seed: replaces the setting `seed`.
        limit_identities: use only the first so many training identities.
        depth: of 16-bit images: `auto` (the range of the data set becomes black to white) or `full`.
        compile: compile the networks.
        from_scratch: ignore the pretrained generator that ships for the embedded data.
        log: `tensorboard`, `wandb`, `mlflow` or `none`; None: the setting `checkpoint.tracker`.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: throw away what `out` holds and start over.

    Raises:
        DgaugError: wrong use or bad input; nothing was created that looks like a result.
        Interrupted: a signal arrived; everything was saved.
    """
    flags = {
        "seed": seed,
        "data.root": None if data is None else str(place_of(Path(data))),
        "data.limit_identities": limit_identities,
        "data.depth": depth,
        "teacher.checkpoints": None if teacher is None else [str(path.resolve()) for path in _paths(teacher)],
        "checkpoint.tracker": log,
        "behaviour.compile": True if compile else None,
        "model.start": "none" if from_scratch else None,
    }
    processes = Processes.here()
    run = processes.broadcast(Run(Path(out)) if out is not None else newest_run() if resume else None)
    base = config or (None if data else "toy")
    if run is not None and run.config.is_file() and resume and config is None and not force:
        base = run.config
    settings = load_settings(base, overrides=setting_texts(overrides, set), flags=flags)
    require_tracker(settings.checkpoint.tracker)
    require_precision(settings.behaviour.precision, processes.device, option="--set behaviour.precision=")
    resumed = run is not None and run.checkpoint.is_file() and not force
    begun = run.settings() if run is not None and run.config.is_file() and not force else None
    settings = _with_depth_of(settings, begun)
    content = _checked_before_anything_is_made(settings, processes, progress, resumed=resumed, begun=begun is not None)
    if content is not None and content.levels is not None:
        settings = _with_depth(settings, content.levels)
    if run is None:
        run = processes.broadcast(new_run(settings.name) if processes.is_rank_zero else Run(Path()))
    with locked(run.folder, what="run") if processes.is_rank_zero else nullcontext():
        if processes.is_rank_zero:
            _prepare(run, settings, force=force)
        processes.barrier()
        content = content or read_data(run.folder / "data", settings.data)
        try:
            with training_math(settings.behaviour, processes.device):
                _train_in(run, settings, content, processes=processes, progress=progress)
        except Interrupted as stopped:
            remedy = f"dgaug train --resume --out {run.folder} resumes it"
            raise Interrupted(stopped.signal_number, remedy) from None
    return run


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else [Path(path) for path in given]


def _with_depth(settings: Settings, depth: str | tuple[int, int]) -> Settings:
    return settings.model_copy(update={"data": settings.data.model_copy(update={"depth": depth})})


def _with_depth_of(settings: Settings, begun: Settings | None) -> Settings:
    """A run keeps the grey levels that it was begun with; one that recorded none was begun with all 16 bits."""
    if begun is None or settings.data.depth not in ("auto", "full"):
        return settings
    recorded = begun.data.depth
    return _with_depth(settings, recorded) if "auto" in (settings.data.depth, recorded) else settings


def _prepare(run: Run, settings: Settings, *, force: bool) -> None:
    """The folder is ours and holds nothing that this run would spoil; the embedded data are in it."""
    if not run.config.is_file():
        require_only(run.folder, _BEFORE_CONFIG, of="a run")
    if force:  # data that dgaug did not draw stay
        remove(*(run.folder / name for name in PARTS))
        if is_toy(run.folder / "data"):
            remove(run.folder / "data")
    if run.config.is_file():
        remedy = "--resume keeps its own, --force starts over"
        require_same_settings(run.folder, decisive(run.settings()), decisive(settings), remedy=remedy)
    if settings.data.root is not None:
        return
    if run.config.is_file() and not run.knows_data():
        run.data_root()  # says which option names the data
    write_embedded_data(run.folder / "data", settings)


def _checked_before_anything_is_made(
    settings: Settings, processes: Processes, progress: Progress, *, resumed: bool, begun: bool
) -> IdentityData | None:
    """Weights, pretrained generator, batches, data and teachers fit; returns the data, None: they will be drawn."""
    for section, plan in (("schedule", settings.schedule), ("teacher", settings.teacher)):
        require_identities(plan, section, Share(processes.rank, processes.world_size, plan.accumulation))
    if not resumed:
        create_backbone(settings.model.backbone, weights=settings.model.weights)
        pretrained_path(settings.model.start)
    judges = checkpoints.load_teachers([Path(path) for path in settings.teacher.checkpoints])
    if settings.data.root is None:
        _require_room(settings, settings.toy.identities, judges, processes, resumed=resumed)
        return None
    reading = _with_depth(settings, "full").data if begun and settings.data.depth == "auto" else settings.data
    data = read_data(Path(settings.data.root), reading, progress=progress if processes.is_rank_zero else silent)
    for judge in judges:
        judge.require(class_names(data.splits["train"]), settings.data.image_size, source=settings.data.root)
    _require_room(settings, len(class_names(data.splits["train"])), judges, processes, resumed=resumed)
    return data


def _require_room(
    settings: Settings, classes: int, judges: Sequence[ReidModel], processes: Processes, *, resumed: bool
) -> None:
    """An iteration of either phase fits in the memory of a GPU; see `require_room`."""
    size, precision = settings.data.image_size, settings.behaviour.precision
    architecture = teacher_architecture(settings, classes)
    if not judges and not resumed:
        trial = reid_trial(settings.teacher, architecture, processes, image_size=size, precision=precision)
        require_room(trial, settings.teacher, "teacher", processes)
    judge = judges[0].network if judges else ReidNetwork(**architecture)
    require_room(
        dgnet_trial(settings, classes, judge, processes), settings.schedule, "schedule", processes, begun=resumed
    )


def _train_in(run: Run, settings: Settings, data: IdentityData, *, processes: Processes, progress: Progress) -> None:
    if processes.is_rank_zero:
        _record(run, settings, data)
    processes.barrier()
    start = _reached(run, settings)
    if start >= settings.schedule.iterations:
        already_complete(run.folder)
        return
    images = LabelledImages.of(data, settings.data.image_size)
    log = TrainingLog(run.log, start=start, settings=settings) if processes.is_rank_zero else None
    try:
        judge = _teacher(run, settings, images, processes=processes, progress=progress, log=log)
        train_dgnet(Training(run, settings, images, judge), processes=processes, progress=progress, log=log)
    finally:
        if log:
            log.close()


def _record(run: Run, settings: Settings, data: IdentityData) -> None:
    """Begin the run, or see that it resumes with the same data; where they lie, and free settings, may change."""
    inside = data.source.resolve() == (run.folder / "data").resolve()
    now = described(data) | ({"root": "data"} if inside else {})
    if not run.config.is_file():
        write_records(run, data)
        run.begin(settings, now)
        return
    recorded = run.data_description() if run.knows_data() else None
    if recorded:
        require_recorded(run, data, recorded, remedy="--force starts over")
        require_fingerprint(run, data, recorded, remedy="--force starts over")
    if recorded != now:
        write_records(run, data)
        run.record_data(now)
    if run.settings() != settings:
        run.record_settings(settings)


def _reached(run: Run, settings: Settings) -> int:
    """The iteration of the run's checkpoint; DgaugError where that was made with other settings."""
    if not run.checkpoint.is_file():
        return 0
    content = checkpoints.load(run.checkpoint, checkpoints.DGNET)
    before = parse_settings(content["settings"], source=str(run.checkpoint))
    remedy = f"put {run.config} back as it was, or --force starts over"
    require_same_settings(run.checkpoint, decisive(before), decisive(settings), remedy=remedy)
    return int(content["iteration"])


def teacher_job(settings: Settings, images: LabelledImages) -> ReidJob:
    """The training of a teacher on some images."""
    return ReidJob(
        images,
        settings.teacher,
        settings.data,
        teacher_architecture(settings, len(images.class_names)),
        weights=settings.model.weights,
        seed=settings.seed,
        precision=settings.behaviour.precision,
    )


def _teacher(
    run: Run,
    settings: Settings,
    images: LabelledImages,
    *,
    processes: Processes,
    progress: Progress,
    log: TrainingLog | None,
) -> ReidModel:
    given = [Path(path) for path in settings.teacher.checkpoints]
    if given and processes.is_rank_zero and not run.teacher.is_file():
        checkpoints.copy_teachers(given, run.teacher)
    processes.barrier()
    job = teacher_job(settings, images)
    every = settings.checkpoint.log

    def on_log(iteration: int, terms: Mapping[str, float]) -> None:
        if log and iteration % every == 0:
            log.write("teacher", iteration, terms, {})

    train_reid_network(
        job, run.teacher, processes=processes, save_every=settings.checkpoint.every, progress=progress, on_log=on_log
    )
    teacher = checkpoints.load_reid(run.teacher)
    teacher.require(images.class_names, images.image_size, source=str(run.folder))
    return teacher
