"""A store that somebody changed and made look whole again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dgaug.store.safe_hdf5 import seal_of


@contextmanager
def forged(store: Path) -> Iterator[h5py.File]:
    """The `dataset.h5` of a store to change; its seal fits it afterwards."""
    path = store / "dataset.h5"
    with h5py.File(path, "r+") as hdf5:
        yield hdf5
    with path.open("r+b") as file:
        file.write(seal_of(path))
