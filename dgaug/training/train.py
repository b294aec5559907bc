"""`dgaug train`: the data, the teacher, then DG-Net, in a run folder that can always go on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from dgaug.data.records import IdentityData, class_names
from dgaug.data.toy import is_toy, write_toy
from dgaug.data.training import described, read_data
from dgaug.errors import DgaugError, Interrupted
from dgaug.models import checkpoints
from dgaug.models.architectures import teacher_architecture
from dgaug.models.backbones import create_backbone
from dgaug.models.checkpoints import ReidModel
from dgaug.processes import Processes
from dgaug.progress import Progress, silent
from dgaug.runs import PARTS, Run, locked, new_run, newest_run
from dgaug.settings import Settings, differing, load_settings, parse_settings, setting_texts
from dgaug.surroundings import as_found
from dgaug.training.batches import LabelledPictures
from dgaug.training.log import TrainingLog
from dgaug.training.loop import Training, train_dgnet
from dgaug.training.reid import ReidJob, train_reid_network
from dgaug.training.sampling import Share
from dgaug.training.start import pretrained_path

_BEFORE_CONFIG = {"data", "data.part", "environment.json"}
"""What a run that was killed at its very start may hold."""

_log = logging.getLogger("dgaug")


@as_found
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
    compile: bool = False,
    from_scratch: bool = False,
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
        resume: go on with the run at `out` (or the newest one) with its own settings.
        seed: replaces the setting `seed`.
        limit_identities: use only the first so many training identities.
        compile: compile the networks.
        from_scratch: ignore the pretrained generator that ships for the embedded data.
        force: throw away what `out` holds and start over.

    Raises:
        DgaugError: wrong use or bad input; nothing was created that looks like a result.
        Interrupted: a signal arrived; everything was saved.
    """
    flags = {
        "seed": seed,
        "data.root": None if data is None else str(Path(data).resolve()),
        "data.limit_identities": limit_identities,
        "teacher.checkpoints": None if teacher is None else [str(path.resolve()) for path in _paths(teacher)],
        "behaviour.compile": True if compile else None,
        "model.start": "none" if from_scratch else None,
    }
    processes = Processes.here()
    run = processes.share(Run(Path(out)) if out is not None else newest_run() if resume else None)
    base = config or (None if data else "toy")
    if run is not None and run.config.is_file() and resume and config is None and not force:
        base = run.config
    settings = load_settings(base, overrides=setting_texts(overrides, set), flags=flags)
    resumed = run is not None and run.checkpoint.is_file() and not force
    content = _checked_before_anything_is_made(settings, processes, progress, resumed=resumed)
    if run is None:
        run = processes.share(new_run(settings.name) if processes.first else Run(Path()))
    with locked(run.folder, what="run") if processes.first else nullcontext():
        if processes.first:
            _prepare(run, settings, force=force)
        processes.wait()
        content = content or read_data(run.folder / "data", settings.data)
        try:
            _train_in(run, settings, content, processes=processes, progress=progress)
        except Interrupted as stopped:
            remedy = f"dgaug train --resume --out {run.folder} goes on"
            raise Interrupted(stopped.signal_number, remedy) from None
    return run


def _paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(given)] if isinstance(given, (str, Path)) else [Path(path) for path in given]


def _prepare(run: Run, settings: Settings, *, force: bool) -> None:
    """The folder is ours and holds nothing that this run would spoil; the embedded data are in it."""
    _refuse_other_folder(run)
    if force:
        _clear(run)
    _refuse_other_settings(run, settings)
    if settings.data.root is not None:
        return
    if run.config.is_file() and not run.knows_data():
        run.data_root()  # says which option names the data
    _draw_embedded_data(run, settings)


def _checked_before_anything_is_made(
    settings: Settings, processes: Processes, progress: Progress, *, resumed: bool
) -> IdentityData | None:
    """Weights, pretrained generator, batches, data and teachers fit; returns the data, None: they will be drawn."""
    for plan in (settings.schedule, settings.teacher):
        Share(processes.index, processes.count, plan.accumulation).rows(plan.batch_size, 0)
    if not resumed:
        create_backbone(settings.model.backbone, weights=settings.model.weights)
        pretrained_path(settings.model.start)
    judges = checkpoints.load_teachers([Path(path) for path in settings.teacher.checkpoints])
    if settings.data.root is None:
        return None
    data = read_data(Path(settings.data.root), settings.data, progress=progress if processes.first else silent)
    for judge in judges:
        judge.require(class_names(data.splits["train"]), settings.data.image_size, source=settings.data.root)
    return data


def _refuse_other_folder(run: Run) -> None:
    found = {item.name for item in run.folder.iterdir() if not item.name.startswith(".")} - _BEFORE_CONFIG
    if found and not run.config.is_file():
        raise DgaugError(f"{run.folder} exists and is not a run folder (it holds {min(found)}); choose another --out")


def _clear(run: Run) -> None:
    """Remove what a run folder holds, by name; data that dgaug did not draw stay."""
    for name in sorted(PARTS):
        item = run.folder / name
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink(missing_ok=True)
    if is_toy(run.folder / "data"):
        shutil.rmtree(run.folder / "data")


def _refuse_other_settings(run: Run, settings: Settings) -> None:
    changed = differing(run.settings(), settings) if run.config.is_file() else []
    if changed:
        raise DgaugError(
            f"{run.folder} was made with other settings ({'; '.join(changed[:3])}"
            f"{', ...' if len(changed) > 3 else ''}); --resume goes on with its own, --force starts over"
        )


def _draw_embedded_data(run: Run, settings: Settings) -> None:
    toy = settings.toy
    write_toy(
        run.folder / "data",
        identities=toy.identities,
        images_per_identity=toy.images_per_identity,
        cameras=toy.cameras,
        size=settings.data.image_size,
        seed=settings.seed,
    )


def _train_in(run: Run, settings: Settings, data: IdentityData, *, processes: Processes, progress: Progress) -> None:
    if processes.first:
        _record(run, settings, data)
    processes.wait()
    start = _reached(run, settings)
    if start >= settings.schedule.iterations:
        _log.info("already complete: %s", run.folder)
        return
    pictures = LabelledPictures.of(data, settings.data.image_size)
    log = TrainingLog(run.log, start=start) if processes.first else None
    try:
        judge = _teacher(run, settings, pictures, processes=processes, progress=progress, log=log)
        train_dgnet(Training(run, settings, pictures, judge), processes=processes, progress=progress, log=log)
    finally:
        if log:
            log.close()


def _record(run: Run, settings: Settings, data: IdentityData) -> None:
    """Begin the run, or see that it goes on with the same data; where they lie, and free settings, may change."""
    inside = data.root.resolve() == (run.folder / "data").resolve()
    now = described(data) | ({"root": "data"} if inside else {})
    if not run.config.is_file():
        run.begin(settings, now)
        return
    recorded = run.data_description() if run.knows_data() else None
    if recorded and recorded.get("fingerprint") != now["fingerprint"]:
        raise DgaugError(f"the data at {data.root} are not those {run.folder} was started with; --force starts over")
    if recorded != now:
        run.record_data(now)
    if run.settings() != settings:
        run.record_settings(settings)


def _reached(run: Run, settings: Settings) -> int:
    """The iteration of the run's checkpoint; DgaugError where that was made with other settings."""
    if not run.checkpoint.is_file():
        return 0
    content = checkpoints.load(run.checkpoint, checkpoints.DGNET)
    changed = differing(parse_settings(content["settings"], source=str(run.checkpoint)), settings)
    if changed:
        raise DgaugError(
            f"{run.config} is not what {run.checkpoint} was trained with ({'; '.join(changed[:3])}); put it back as it "
            "was, or --force starts over"
        )
    return int(content["iteration"])


def _teacher(
    run: Run,
    settings: Settings,
    pictures: LabelledPictures,
    *,
    processes: Processes,
    progress: Progress,
    log: TrainingLog | None,
) -> ReidModel:
    given = [Path(path) for path in settings.teacher.checkpoints]
    if given and processes.first and not run.teacher.is_file():
        checkpoints.copy_teachers(given, run.teacher)
    processes.wait()
    job = ReidJob(
        pictures,
        settings.teacher,
        settings.data,
        teacher_architecture(settings, len(pictures.class_names)),
        weights=settings.model.weights,
        seed=settings.seed,
        precision=settings.behaviour.precision,
    )
    every = settings.checkpoint.log

    def on_log(iteration: int, terms: Mapping[str, float]) -> None:
        if log and iteration % every == 0:
            log.write("teacher", iteration, terms, {})

    train_reid_network(
        job, run.teacher, processes=processes, save_every=settings.checkpoint.every, progress=progress, on_log=on_log
    )
    teacher = checkpoints.load_reid(run.teacher)
    teacher.require(pictures.class_names, pictures.image_size, source=str(run.folder))
    return teacher
