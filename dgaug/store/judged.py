"""What a judge keeps of a store's images. Who judges, and how, is the caller's: `dgaug.studies.judged_export`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgaug.data.records import IdentityData
from dgaug.errors import DgaugError
from dgaug.progress import Progress
from dgaug.store.merge_data import data_of_store, run_of
from dgaug.store.read import StoreDataset


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
