"""HDF5 files that are whole and safe: written aside and sealed; read without leaving the file.

A file under its final name is whole, whatever stopped the writer. Others may have made a file that is read: every link
and every byte must stay inside it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.store.schema import DATASET_FILE, SCHEMA, SHARD_FOLDER

# What HDF5 1.10 (2016) reads: the oldest whose headers of data sets carry checksums throughout.
LIBVER = ("v110", "v110")
SEAL_BYTES = 512
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
    item = linked(hdf5, name)
    if item.is_virtual or item.external:
        raise DgaugError(f"expected {name} inside {hdf5.filename}, found one that points to another file; refused")
    return item


def linked(hdf5: h5py.File, name: str) -> h5py.Dataset:
    """A data set reached by hard links only; DgaugError otherwise, KeyError where there is none."""
    parts = name.split("/")
    for depth in range(1, len(parts) + 1):
        step = "/".join(parts[:depth])
        if not isinstance(hdf5.get(step, getlink=True), h5py.HardLink):
            raise DgaugError(f"expected {step} inside {hdf5.filename}, found a link to another place; refused")
    item = hdf5[name]
    if not isinstance(item, h5py.Dataset):
        raise KeyError(f"{name} is no data set")
    return item


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


class Disk:
    """The file under HDF5, which stays writable for HDF5 when the disk no longer is.

    HDF5 cannot let go of a file whose writes fail: it keeps the handle and crashes the process at its end. So the
    first failure is remembered for `check`, and from there on what HDF5 writes is kept in memory until it has closed.
    Whoever writes calls `check` after each block; that bounds the memory.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._position = 0
        self._failure: OSError | None = None
        self._kept: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the OSError of the first write that failed, if one did."""
        if self._failure is not None:
            raise self._failure

    def sync(self) -> None:
        """Put everything on the medium; raises the OSError of this or of an earlier write."""
        self.check()
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte, as a file object does."""
        self._position = offset + (os.fstat(self._descriptor).st_size if whence == os.SEEK_END else 0)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def write(self, data: memoryview) -> int:
        """Write all of `data` at the position."""
        if self._failure is None:
            try:
                self._write_through(data)
            except OSError as failure:
                self._failure = failure
        if self._failure is not None:
            self._kept.append((self._position, bytes(data)))
        self._position += len(data)
        return len(data)

    def _write_through(self, data: memoryview) -> None:
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self._position + written)

    def read(self, size: int) -> bytes:
        """The next `size` bytes, zeros past the end."""
        data = bytearray(size)
        self.readinto(memoryview(data))
        return bytes(data)

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` from the position, with zeros past the end."""
        item = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(item)] = item
        buffer[len(item) :] = bytes(len(buffer) - len(item))
        for start, data in self._kept:
            first, last = max(start, self._position), min(start + len(data), self._position + len(buffer))
            if first < last:
                buffer[first - self._position : last - self._position] = data[first - start : last - start]
        self._position += len(buffer)
        return len(buffer)

    def truncate(self, size: int) -> int:
        """Set the file's size."""
        if self._failure is None:
            try:
                os.ftruncate(self._descriptor, size)
            except OSError as failure:
                self._failure = failure
        return size

    def flush(self) -> None:
        """Nothing: every write goes straight to the descriptor."""


@contextmanager
def written_aside(path: Path, *, sealed: bool = False) -> Iterator[tuple[h5py.File, Disk]]:
    """A new HDF5 file at `<path>.part` that takes its name when the block ends well, and is removed when it does not.

    A `sealed` file opens with a user block (which HDF5 passes over) that holds the sha256 of the rest, so that
    `seal_holds` can check the file before HDF5 touches it. Raises OSError where the disk is full or the file cannot be
    written.
    """
    aside = path.with_name(path.name + ".part")
    disk = Disk(aside)
    try:
        with h5py.File(disk, "w", libver=LIBVER, userblock_size=SEAL_BYTES if sealed else None) as hdf5:
            yield hdf5, disk
        disk.check()
        if sealed:
            disk.seek(0)
            disk.write(memoryview(seal_of(aside)))
        disk.sync()
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    finally:
        disk.close()
    sync_folder(path.parent)


def seal_holds(path: Path) -> bool:
    """Whether a sealed file is as it was written, to the bit; told without HDF5, which may crash on damage."""
    with open(path, "rb") as file:
        return file.read(SEAL_BYTES) == seal_of(path)


def seal_of(path: Path) -> bytes:
    """The first `SEAL_BYTES` of a sealed file that has these bytes behind them."""
    return f"dgaug store; sha256 of what follows this block: {file_sha256(path, start=SEAL_BYTES)}\n".encode().ljust(
        SEAL_BYTES, b"\0"
    )


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on the medium, so that a rename survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
