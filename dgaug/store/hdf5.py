"""Open HDF5 files that others may have made: every link and every byte stays inside the file."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dgaug.errors import DgaugError
from dgaug.store.schema import DATASET_FILE, SCHEMA, SHARD_FOLDER

_REFUSED = (errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.EIO, errno.ELOOP)
"""What the system says where it does not let a file be read, which may well be whole."""


class NewerSchemaError(DgaugError):
    """The store is of a schema that this version cannot read."""


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """A file of a store, open for reading; DgaugError where it is missing, damaged or lacks what is asked of it."""
    with damage_named(path), h5py.File(path, "r") as hdf5:
        yield hdf5


@contextmanager
def access_named(path: Path) -> Iterator[None]:
    """DgaugError in place of what the system raises where it does not give a file: no damage, but no right either."""
    try:
        yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise DgaugError(f"cannot read {problem.filename or path}: {reason[:1].lower()}{reason[1:]}") from problem


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
        if isinstance(problem, OSError) and problem.errno in _REFUSED:
            raise DgaugError(f"cannot read {path}: {os.strerror(problem.errno).lower()}") from problem
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


def is_store(path: Path) -> bool:
    """Whether a path is a store: its folder, its `dataset.h5`, or a link to that file."""
    with access_named(path):
        return path.name == DATASET_FILE or (path / DATASET_FILE).is_file() or _linked_file(path) is not None


def store_folder(path: Path) -> Path:
    """The folder of a store, absolute, by that folder, its `dataset.h5` or a link to that file alone.

    Raises:
        DgaugError: there is none, or the system does not let it be read.
    """
    with access_named(path):
        given = path.absolute()
        file = _linked_file(given) or (given if given.name == DATASET_FILE else given / DATASET_FILE)
        if not file.is_file():
            where = path.parent if path.name == DATASET_FILE else path
            raise DgaugError(
                f"expected a store with {DATASET_FILE}, found none in {where}; `dgaug synthesize` writes one"
            )
        # A folder of links keeps its own names; where the file alone is one, the rest lies where it points.
        if file.is_symlink() and not (file.parent / SHARD_FOLDER).is_dir():
            file = file.resolve()
        return file.parent


def _linked_file(path: Path) -> Path | None:
    """The `dataset.h5` that a link of another name points to."""
    if not (path.is_symlink() and path.is_file()):
        return None
    file = path.resolve()
    return file if file.name == DATASET_FILE else None
