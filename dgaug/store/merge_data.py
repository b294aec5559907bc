"""The real images beside which generated ones are put: they must be those that the store was made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dgaug.data.prepare import read_data
from dgaug.data.recorded import require_same_files
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData
from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent
from dgaug.runs import Run
from dgaug.settings import DataSettings
from dgaug.store.read import StoreDataset
from dgaug.store.sources import Sources

_SPLITS = ("train", "query", "gallery", "multi-query", "val")
_MOST_LEVELS = 3


def run_of(store: Path) -> Run | None:
    """The run in whose folder a store lies, at most three levels below it; None where there is none."""
    folders = store.absolute().parents[:_MOST_LEVELS]
    near = (Run(folder) for folder in folders if (folder / "environment.json").is_file())
    return next((run for run in near if run.config.is_file()), None)


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
    settings = run.settings().data if run else DataSettings()
    asked = {"layout": layout, "pattern": pattern, "cameras": cameras}
    given = {name: value for name, value in asked.items() if value not in ("auto", None)}
    data = read_data(root, settings.model_copy(update=given), splits=_SPLITS, progress=progress)
    _require_sources(store, data, cameras=cameras != "none")
    if run is not None:
        require_same_files(run, data, remedy=f"give the images of that run, {run.data_root()}")
    return data


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
