"""The real images of a store: those that it was made from, beside which generated ones are put or judged.

Who judges, and how, is the caller's: `dgaug.studies.judged_export`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgaug.data.names import SPLITS
from dgaug.data.prepare import read_data
from dgaug.data.recorded import require_same_files
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData
from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent
from dgaug.runs import Run
from dgaug.settings import DataSettings
from dgaug.store.read import StoreDataset
from dgaug.store.sources import Sources

_MOST_LEVELS = 3


@dataclass(frozen=True)
class Judged:
    """What a judge kept.

    Attributes:
        name: the judge and its share, with what tells this choice from another.
        rows: int64 [K], rows of the store, ascending.
        counts: how many were kept and left out, and how often the judge agrees.
        note: the same as a sentence.
    """

    name: str
    rows: NDArray[np.int64]
    counts: Mapping[str, object]
    note: str


Judge = Callable[[StoreDataset], Callable[[IdentityData, Progress], Judged]]
"""Refuses a store at once, or judges its images, given the real ones that the store was made from."""


def run_of(store: Path) -> Run | None:
    """The run in whose folder a store lies, at most three levels below it; None where there is none."""
    folders = store.absolute().parents[:_MOST_LEVELS]
    near = (Run(folder) for folder in folders if (folder / "environment.json").is_file())
    return next((run for run in near if run.config.is_file()), None)


def reading_of(run: Run | None, **asked: str | None) -> DataSettings:
    """How a store's run (None: no run) reads data, with what is asked for in place of its settings; `auto`: as it."""
    settings = run.settings().data if run is not None else DataSettings()
    return settings.model_copy(update={name: value for name, value in asked.items() if value not in ("auto", None)})


def data_of_store(
    store: StoreDataset,
    root: Path,
    *,
    layout: str = "auto",
    pattern: str | None = None,
    cameras: str = "auto",
    progress: Progress = silent,
) -> IdentityData:
    """A data set, read with the settings of the store's run, of which every image can be decoded.

    Args:
        store: the store.
        root: the data set.
        layout, pattern, cameras: in place of what the run's settings say, where they are given.
        progress: told how many images were decoded.

    Raises:
        DgaugError: the store was made from other training images, or an image is damaged.
    """
    run = run_of(store.path)
    run = run if run is not None and run.knows_data() else None
    settings = reading_of(run, layout=layout, pattern=pattern, cameras=cameras)
    data = read_data(root, settings, splits=SPLITS, progress=progress)
    _require_sources(store, data, cameras=cameras != "none")
    if run is not None:
        require_same_files(run, data, remedy=f"give the images of that run, {run.data_root()}")
    return data


def real_images(
    store: StoreDataset, data: Path | None, *, layout: str, pattern: str | None, cameras: str, progress: Progress
) -> IdentityData:
    """The real images that a judge compares with: `data`, or those of the run in whose folder the store lies.

    Raises:
        DgaugError: there is no such run, or the store was made from other images.
    """
    if data is None:
        run = run_of(store.path)
        if run is None or not run.knows_data():
            raise DgaugError(
                f"--select judge:FILE compares with the real images of the store {store.path}, which lies in no run's "
                "folder: give them with --with DATA"
            )
        data = run.data_root()
    return data_of_store(store, data, layout=layout, pattern=pattern, cameras=cameras, progress=progress)


def _require_sources(store: StoreDataset, data: IdentityData, *, cameras: bool) -> None:
    there, now = store.sources, Sources.of(data.splits["train"])
    if not cameras:
        now = replace(now, camera=np.full(len(now), UNKNOWN_CAMERA, np.int32))
        there = replace(there, camera=np.full(len(there), UNKNOWN_CAMERA, np.int32))
    known = dict(zip(there.path, zip(there.identity_name, there.camera.tolist(), strict=True), strict=True))
    here = dict(zip(now.path, zip(now.identity_name, now.camera.tolist(), strict=True), strict=True))
    if known == here:
        return
    missing, more = sorted(known.keys() - here.keys()), sorted(here.keys() - known.keys())
    other = [path for path in there.path if path in here and known[path] != here[path]]
    if missing:
        difference = f"{len(missing):,} of its {len(known):,} images are missing, the first {missing[0]}"
    elif more:
        difference = f"it was made from {len(known):,} of these {len(here):,} training images, not from {more[0]}"
    else:
        (before, camera), (after, camera_now) = known[other[0]], here[other[0]]
        difference = (
            f"{other[0]} has the identity {after!r} and camera {_camera(camera_now)}, it had {before!r} and "
            f"{_camera(camera)}"
        )
    raise DgaugError(
        f"the store {store.path} was not made from the training images of {data.source}: {difference}; give the data "
        "it was made from with --with"
    )


def _camera(number: int) -> str:
    return "unknown" if number == UNKNOWN_CAMERA else str(number)
