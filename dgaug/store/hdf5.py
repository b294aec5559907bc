"""Open HDF5 files that others may have made: every link and every byte stays inside the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dgaug.errors import DgaugError
from dgaug.store.schema import DATASET_FILE, SCHEMA


class NewerSchemaError(DgaugError):
    """The store is of a schema that this version cannot read."""


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """A file of a store, open for reading; DgaugError where it is missing, damaged or lacks what is asked of it."""
    with damage_named(path), h5py.File(path, "r") as hdf5:
        yield hdf5


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Say which file it was when HDF5 cannot read it: DgaugError in place of what h5py raises."""
    try:
        yield
    except FileNotFoundError as problem:
        raise DgaugError(
            f"expected the file {path}, found none; run the same `dgaug synthesize` command again, it makes what is "
            "missing"
        ) from problem
    except (OSError, LookupError, RuntimeError, ValueError, TypeError, MemoryError) as problem:
        raise DgaugError(
            f"expected a readable file of a dgaug store, found {path}: {problem}; if `dgaug verify` calls it damaged, "
            "delete it and run the same `dgaug synthesize` command again"
        ) from problem


def own(hdf5: h5py.File, name: str) -> h5py.Dataset:
    """A data set whose bytes are in this very file.

    Raises DgaugError for a soft or external link on the way to it, raw data in another file, and a virtual data set.
    """
    found = linked(hdf5, name)
    if found.is_virtual or found.external:
        raise DgaugError(f"expected {name} inside {hdf5.filename}, found one that points to another file; refused")
    return found


def linked(hdf5: h5py.File, name: str) -> h5py.Dataset:
    """A data set reached by hard links only; DgaugError otherwise, KeyError where there is none."""
    parts = name.split("/")
    for depth in range(1, len(parts) + 1):
        step = "/".join(parts[:depth])
        if not isinstance(hdf5.get(step, getlink=True), h5py.HardLink):
            raise DgaugError(f"expected {step} inside {hdf5.filename}, found a link to another place; refused")
    found = hdf5[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{name} is no data set")
    return found


def check_schema(hdf5: h5py.File) -> None:
    """NewerSchemaError where the file is of a schema that this version cannot read."""
    schema = int(hdf5.attrs["schema"])
    if schema > SCHEMA:
        raise NewerSchemaError(
            f"expected a store of schema {SCHEMA} or older, found schema {schema} in {hdf5.filename}; "
            "install a newer dgaug"
        )


def store_folder(path: Path) -> Path:
    """The folder of a store named by its folder or by its `dataset.h5`; DgaugError where there is none."""
    folder = path.parent if path.name == DATASET_FILE else path
    if not (folder / DATASET_FILE).is_file():
        raise DgaugError(f"expected a store with {DATASET_FILE}, found none in {folder}; `dgaug synthesize` writes one")
    return folder
