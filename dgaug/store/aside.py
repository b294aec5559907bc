"""Write an HDF5 file aside, then rename it: a file under its final name is whole, whatever stopped the writer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from dgaug.files import file_sha256

# What HDF5 1.10 (2016) reads: the oldest whose headers of data sets carry checksums throughout.
LIBVER = ("v110", "v110")
SEAL_BYTES = 512


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
        found = os.pread(self._descriptor, len(buffer), self._position)
        buffer[: len(found)] = found
        buffer[len(found) :] = bytes(len(buffer) - len(found))
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
