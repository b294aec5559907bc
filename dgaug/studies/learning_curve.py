"""`dgaug study`: what generated images are worth, read off the learning curve of models that see real ones only."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from dgaug.data.prepare import limited, read_data, write_embedded_data
from dgaug.data.records import IdentityData, class_names
from dgaug.data.toy import is_toy
from dgaug.device import AUTO, on_device, usable_cuda, use_device
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.launched import alone
from dgaug.models.architectures import ARCHITECTURES
from dgaug.progress import Progress, silent
from dgaug.ray_cluster import RETRIES, finish, import_ray, joined, require_engine, resources, slots
from dgaug.runs import Run, find_run, lock
from dgaug.scores.retrieval.held_out import (
    GALLERY,
    QUERY,
    TRAIN,
    held_out,
    require_cameras,
    require_evaluation,
    warn_of_leaks,
)
from dgaug.settings import LARGEST_SEED, Settings, load_settings, setting_texts
from dgaug.studies.arms import ARMS, TRUE, USUAL, require_arms
from dgaug.studies.curve_results import FILES, write_results
from dgaug.studies.curve_study import CurveStudy
from dgaug.studies.feeds import TRUST, require_policy
from dgaug.studies.plateau import lengths_of
from dgaug.studies.point_work import READY, Asked
from dgaug.studies.points import FRACTIONS, SEEDED_LIMITS, fractions_of, image_counts, require_fractions
from dgaug.studies.shared_tasks import TIMES, work_through
from dgaug.studies.study import STUDY, record_study
from dgaug.studies.train_reid import model_settings
from dgaug.studies.worth import SMALLEST_REPEATS
from dgaug.surroundings import as_found
from dgaug.training.sampling import Share, require_identities

PRESET = "study"
"""The settings of the embedded data."""


@as_found
@on_device
def study(
    data: str | Path | None = None,
    config: str | Path | None = None,
    *,
    fractions: str | Sequence[float] = FRACTIONS,
    axis: str = "images",
    arms: str | Sequence[str] | None = None,
    model: str = "bot",
    repeats: int = 5,
    seed: int | None = None,
    steps: str | Sequence[int] | None = None,
    rates: str | Sequence[float] | None = None,
    pairs: str | None = None,
    generator: str | Path | None = None,
    also: str | Path | None = None,
    set: str | Iterable[str] = (),
    overrides: str | Iterable[str] = (),
    out: str | Path = "study",
    engine: str = "local",
    ray_address: str | None = None,
    dry_run: bool = False,
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train every arm at every point of a learning curve; returns what `results.json` holds.

    At each fraction of the real training images, and for each repeat, a generator is trained on these images alone and
    every arm once, all for the same number of optimiser steps with as many images in a step. Resumes where an earlier
    call stopped; the same call in several processes or machines on the same `out` shares the models among them.

    Args:
        data: a data set with query and gallery; None: the embedded one.
        config: preset or file for the settings; None: the preset `study` without data, else the defaults.
        fractions: shares of the real training images (above 0, up to 1), as numbers or `0.1,0.5,1`.
        axis: `images` (at least one of each identity), `identities`, or `per-identity` (of the images of each).
        arms: names of `dgaug.studies.arms.ARMS`; None: the usual ones.
        model: `dgnet`, `baseline`, `pcb` or `bot`; it brings its own recipe.
        repeats: seeds of subset, generator and model together; at least 3.
        seed: the first one; None: the settings'.
        steps: numbers of optimiser steps to choose from, once per fraction; None: half, once and twice
            `reid.iterations`. One number, with one rate: nothing is chosen.
        rates: learning rates to choose from, as multiples of `reid.learning_rate`; None: 0.3 and 1.
        pairs: what a generator makes, see `synthesize`; None: 32 structures for each appearance.
        generator: a run whose generator makes the images of every point, although it saw other images than those of
            the point; None: one is trained for each.
        also: another data set with query and gallery, on which every model is evaluated too.
        set: `section.name=value` texts, as of `--set`.
        overrides: the same.
        out: folder of generators, models and results.
        engine: `local` (this process, and all others that work on the same `out`) or `ray` (workers of a Ray cluster).
        ray_address: a running cluster; None: that of RAY_ADDRESS, or one that is started here and stopped afterwards.
        dry_run: count models and estimate seconds; nothing is trained.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: start over.

    Returns:
        `protocol`; `points`, by fraction and arm: `images` (real training images), `metrics` (0..1: mean, standard
        deviation), `by_repeat`, `minus` (paired differences with 95 % intervals), `worth` (in real images); after a dry
        run the numbers of an `Estimate`.

    Raises:
        DgaugError: wrong use or bad input, before anything is trained. Interrupted: a signal arrived; everything was
            saved.
    """
    require_engine(engine, ray_address, device)
    chosen = setting_texts(overrides, set)
    preset = config or (None if data else PRESET)
    base = load_settings(preset, overrides=chosen, flags={"seed": seed})
    if model not in ARCHITECTURES:
        raise DgaugError(f"unknown model {model!r}; known are {', '.join(ARCHITECTURES)}")
    settings = model_settings(base, model, chosen, {"seed": seed})
    if repeats < SMALLEST_REPEATS:
        raise DgaugError(
            f"--repeats {repeats}: an interval needs at least {SMALLEST_REPEATS} repeats; 5 are the default"
        )
    if settings.seed + repeats - 1 > LARGEST_SEED:
        largest = LARGEST_SEED - repeats + 1
        raise DgaugError(f"--seed {settings.seed}: with {repeats} repeats it may be {largest} at most")
    if settings.teacher.checkpoints:
        raise DgaugError("teacher.checkpoints: the teachers of a study see its fractions alone; remove the setting")
    if settings.reid.identity_mixup:
        raise DgaugError("reid.identity_mixup is what the arm 'mixup' has; add it to --arms and remove the setting")
    require_policy(settings.reid.labels)
    if settings.reid.labels == TRUST:
        raise DgaugError(f"reid.labels={TRUST} needs a judge, which the arm 'trusted' has; add it to --arms instead")
    require_identities(settings.reid, "reid", Share(turns=settings.reid.accumulation))
    asked = Asked(
        fractions=fractions_of(fractions),
        axis=axis,
        arms=_arms(arms, embedded=data is None or is_toy(Path(data))),
        model=model,
        repeats=repeats,
        lengths=lengths_of(steps, rates, settings.reid.iterations),
        pairs=pairs,
        preset=preset,
        overrides=chosen,
    )
    outside = None if generator is None else _outside(find_run(str(generator)), settings)
    if data is None:
        require_cameras(settings)
        counts = [settings.toy.images_per_identity] * settings.toy.identities
        require_fractions(asked.fractions, axis, settings, counts)
    folder = Path(out)
    with alone() as local_rank, ExitStack() as stack:
        if local_rank is not None and device == AUTO and usable_cuda():
            stack.enter_context(use_device(f"cuda:{local_rank}"))
        if data is not None:
            root = Path(data)
        else:
            parent = Path(stack.enter_context(tempfile.TemporaryDirectory())) if dry_run else folder
            root = parent / "embedded" / "data"
            with lock(parent / "embedded", wait=True):
                write_embedded_data(root, settings)
        whole = settings.data.model_copy(update=dict.fromkeys(SEEDED_LIMITS))
        content = read_data(root, whole, splits=(TRAIN, QUERY, GALLERY), progress=progress)
        require_evaluation(content)
        warn_of_leaks(held_out(content, class_names(content.splits[TRAIN])))
        require_fractions(asked.fractions, axis, settings, image_counts(limited(content, settings.data)))
        elsewhere = None if also is None else _elsewhere(Path(also), settings, progress)
        curve = CurveStudy(asked, settings, content, elsewhere, outside, folder, progress)
        curve.require_points()
        curve.require_pairs()
        if dry_run:
            return asdict(curve.estimated())
        _begin(curve, force=force)
        if engine == "ray":
            _work_on_ray(curve, address=ray_address, progress=progress)
        else:
            work_through(curve.tasks(), folder)
        with lock(folder / "results", wait=True):
            return write_results(folder, curve.trained(), curve.protocol(), outside=outside is not None)


def _arms(given: str | Sequence[str] | None, *, embedded: bool) -> list[str]:
    if given is None:
        return [name for name in USUAL if embedded or name != TRUE]
    names = given.split(",") if isinstance(given, str) else given
    arms = list(dict.fromkeys(name.strip() for name in names))
    require_arms(arms, embedded=embedded)
    return [name for name in ARMS if name in arms]


def _outside(run: Run, settings: Settings) -> Run:
    if not run.checkpoint.is_file():
        raise DgaugError(f"--generator {run.folder} has no checkpoint; train it first, or give another run")
    theirs, ours = run.settings().data.image_size, settings.data.image_size
    if theirs != ours:
        texts = ["x".join(map(str, size)) for size in (theirs, ours)]
        raise DgaugError(
            f"--generator {run.folder} makes images of {texts[0]}, the settings say {texts[1]}; take --set "
            f"data.height={theirs[0]} --set data.width={theirs[1]}, or another run"
        )
    return run


def _elsewhere(root: Path, settings: Settings, progress: Progress) -> IdentityData:
    reading = settings.data.model_copy(update={"layout": "auto", "pattern": None})
    content = read_data(root, reading, splits=(QUERY, GALLERY), progress=progress)
    require_evaluation(content)
    return content


def _begin(curve: CurveStudy, *, force: bool) -> None:
    """Record what the folder is for; refuse one of another study."""
    with lock(curve.folder, wait=True):
        if force and (curve.folder / STUDY).is_file():
            for item in curve.folder.iterdir():
                if item.is_dir() and item.name not in ("embedded", "results"):
                    shutil.rmtree(item)
            for name in (TIMES, *FILES):
                (curve.folder / name).unlink(missing_ok=True)
        begun = any(curve.folder.glob("*/*/*/ranking.json")) or any(curve.folder.glob(f"*/*/{READY}"))
        record_study(curve.folder, curve.described(), begun=begun)
        curve.require_labels()
        curve.require_lengths()


def _work_on_ray(curve: CurveStudy, *, address: str | None, progress: Progress) -> None:
    """Do what is left of a study with as many workers as a Ray cluster has room for; they share the tasks.

    A worker is started again when it dies; its task resumes where it was last saved. `address` as for `joined`.

    Raises:
        DgaugError: no Ray, no such cluster, too few cores, or a worker that does not see the folders.
    """
    tasks = curve.tasks()
    left = sum(not task.finished.is_file() for task in tasks)
    if not left:
        return
    ray = import_ray()
    with stop_requests() as stop, joined(ray, address):
        asked = resources(ray, torch.get_num_threads())
        worker = ray.remote(max_retries=RETRIES, scheduling_strategy="SPREAD", **asked)(_worker)
        shared = ray.put(replace(curve, progress=silent))
        workers = [worker.remote(shared, Path.cwd()) for _ in range(min(left, slots(ray, asked)))]
        told = -1

        def tell() -> None:
            nonlocal told
            done = sum(task.finished.is_file() for task in tasks)
            if done > told:  # the last line would be repeated until the workers have ended
                progress("study", done, len(tasks))
            told = done

        finish(ray, workers, stop, on_look=tell)


def _worker(curve: CurveStudy, here: Path) -> None:
    """A worker: in the folder that the caller is in, so that relative paths mean the same."""
    try:
        os.chdir(here)
    except OSError as error:
        raise DgaugError(
            f"{socket.gethostname()} does not see {here}, where the study was started; start it in a folder that all "
            "machines of the Ray cluster share"
        ) from error
    if not curve.data.root.exists() or not curve.folder.is_dir():
        raise DgaugError(
            f"{socket.gethostname()} does not see {curve.data.root} and {curve.folder}; give --data and --out that all "
            "machines of the Ray cluster share"
        )
    work_through(curve.tasks(), curve.folder)
