"""`dgaug train`: the data, the teacher, then DG-Net, in a run folder that can always go on."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from dgaug.data.records import IdentityData, class_names
from dgaug.data.toy import is_toy, write_toy
from dgaug.data.training import fingerprint, read_data
from dgaug.device import default_device
from dgaug.errors import DgaugError, Interrupted
from dgaug.models import checkpoints
from dgaug.models.backbones import create_backbone
from dgaug.models.checkpoints import ReidModel
from dgaug.progress import Progress, silent
from dgaug.runs import Run, locked, new_run, newest_run
from dgaug.settings import Settings, differing, load_settings
from dgaug.training.batches import LabelledPictures
from dgaug.training.log import TrainingLog
from dgaug.training.loop import Training, train_dgnet
from dgaug.training.reid import ReidJob, train_reid_network
from dgaug.training.start import pretrained_path

_BEFORE_CONFIG = {"data", "data.part", "environment.json"}
"""What a run that was killed at its very start may hold."""

_OURS = [
    "config.yaml",
    "environment.json",
    "log.jsonl",
    "report.html",
    "checkpoints",
    "teacher",
    "samples",
    "tensorboard",
    "store",
    "scores",
    "reid",
]
"""What a run folder holds, apart from its data (design: run folder)."""

_log = logging.getLogger("dgaug")


def train(
    data: str | Path | None = None,
    config: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    out: str | Path | None = None,
    teacher: str | Path | None = None,
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
        overrides: `section.name=value` texts.
        out: the run folder; None opens the next number under `runs/`.
        teacher: a re-id checkpoint of dgaug to use instead of training one.
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
        "teacher.checkpoint": None if teacher is None else str(Path(teacher).resolve()),
        "behaviour.compile": True if compile else None,
        "model.start": "none" if from_scratch else None,
    }
    run = Run(Path(out)) if out is not None else newest_run() if resume else None
    base = config or (None if data else "toy")
    if run is not None and run.config.is_file() and resume and config is None and not force:
        base = run.config
    settings = load_settings(base, overrides=overrides, flags=flags)
    content = _checked_before_anything_is_made(settings, progress)
    run = run or new_run(settings.name)
    with locked(run.folder, what="run"):
        _refuse_other_folder(run)
        if force:
            _clear(run)
        _refuse_other_settings(run, settings)
        content = content or read_data(_embedded_data(run, settings), settings.data)
        try:
            _train_in(run, settings, content, progress=progress)
        except Interrupted as stopped:
            remedy = f"dgaug train --resume --out {run.folder} goes on"
            raise Interrupted(stopped.signal_number, remedy) from None
    return run


def _checked_before_anything_is_made(settings: Settings, progress: Progress) -> IdentityData | None:
    """Weights, pretrained generator, data and teacher fit; returns the data, None where they will be drawn."""
    create_backbone(settings.model.backbone, weights=settings.model.weights)
    pretrained_path(settings.model.start)
    teacher = settings.teacher.checkpoint
    judge = None if teacher is None else checkpoints.load_reid(Path(teacher))
    if settings.data.root is None:
        return None
    data = read_data(Path(settings.data.root), settings.data, progress=progress)
    if judge is not None:
        judge.require(class_names(data.splits["train"]), settings.data.image_size, source=settings.data.root)
    return data


def _refuse_other_folder(run: Run) -> None:
    found = {item.name for item in run.folder.iterdir() if not item.name.startswith(".")} - _BEFORE_CONFIG
    if found and not run.config.is_file():
        raise DgaugError(f"{run.folder} exists and is not a run folder (it holds {min(found)}); choose another --out")


def _clear(run: Run) -> None:
    """Remove what a run folder holds, by name; data that dgaug did not draw stay."""
    for name in _OURS:
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


def _embedded_data(run: Run, settings: Settings) -> Path:
    toy = settings.toy
    write_toy(
        run.folder / "data",
        identities=toy.identities,
        images_per_identity=toy.images_per_identity,
        cameras=toy.cameras,
        size=settings.data.image_size,
        seed=settings.seed,
    )
    return run.folder / "data"


def _train_in(run: Run, settings: Settings, data: IdentityData, *, progress: Progress) -> None:
    device = default_device()
    described = _described(run, data)
    if not run.config.is_file():
        run.begin(settings, described)
    elif run.data_description().get("fingerprint") != described["fingerprint"]:
        raise DgaugError(f"the data at {data.root} are not those {run.folder} was started with; --force starts over")
    elif run.data_description() != described:
        run.record_data(described)
    start = _reached(run)
    if start >= settings.schedule.iterations:
        _log.info("already complete: %s", run.folder)
        return
    pictures = LabelledPictures.of(data, settings.data.image_size)
    log = TrainingLog(run.log, start=start)
    try:
        judge = _teacher(run, settings, pictures, device=device, progress=progress, log=log)
        train_dgnet(Training(run, settings, pictures, judge), device=device, progress=progress, log=log)
    finally:
        log.close()


def _described(run: Run, data: IdentityData) -> dict[str, object]:
    inside = data.root.resolve() == (run.folder / "data").resolve()
    return {
        "root": "data" if inside else str(data.root.resolve()),
        "layout": data.layout,
        "images": len(data.splits["train"]),
        "fingerprint": fingerprint(data),
    }


def _reached(run: Run) -> int:
    if not run.checkpoint.is_file():
        return 0
    return int(checkpoints.load(run.checkpoint, checkpoints.DGNET)["iteration"])


def _teacher(
    run: Run,
    settings: Settings,
    pictures: LabelledPictures,
    *,
    device: torch.device,
    progress: Progress,
    log: TrainingLog,
) -> ReidModel:
    given = settings.teacher.checkpoint
    if given is not None and not run.teacher.is_file():
        checkpoints.copy(Path(given), run.teacher)
    architecture = checkpoints.teacher_architecture(settings, len(pictures.class_names))
    job = ReidJob(
        pictures, settings.teacher, settings.data, architecture, weights=settings.model.weights, seed=settings.seed
    )
    every = settings.checkpoint.log

    def on_log(iteration: int, terms: Mapping[str, float]) -> None:
        if iteration % every == 0:
            log.write("teacher", iteration, terms, {})

    train_reid_network(
        job, run.teacher, device=device, save_every=settings.checkpoint.every, progress=progress, on_log=on_log
    )
    teacher = checkpoints.load_reid(run.teacher)
    teacher.require(pictures.class_names, pictures.image_size, source=str(run.folder))
    return teacher
