"""The files of a store that one process has open, and the rows that it read last."""

from __future__ import annotations

import os
import threading
import zlib
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.store.index import ShardList
from dgaug.store.safe_hdf5 import damage_named, own
from dgaug.store.schema import DATASET_FILE, Column
from dgaug.store.spec import StoreSpec

# One file handle each; a process may usually have 1,024.
OPEN_SHARDS = 256
# HDF5's own cache would read 64 KiB for an image of 9; what is worth keeping is kept in blocks.
CHUNK_CACHE = 0
# Columns are read many rows at a time: a call of HDF5 costs more than the few bytes it brings.
BLOCK_ROWS, BLOCK_BYTES, KEPT_BLOCKS = 4096, 1 << 18, 256
Columns = dict[str, NDArray[Any]]


class ShardFiles:
    """Rows and images of a store's shards; each file is opened when it is first needed.

    `process` is the one that may use it: handles do not survive a fork. Its threads may read side by side; HDF5 itself
    serves one at a time.
    """

    def __init__(
        self, store: Path, spec: StoreSpec, shards: ShardList, layout: dict[str, Column], *, sources: int
    ) -> None:
        self.process = os.getpid()
        self._store, self._spec, self._shards, self._sources = store, spec, shards, sources
        self._names = [name for name in layout if name not in ("image/pixels", "image/crc32")]
        self._images = [] if spec.virtual else ["image/pixels"] if spec.codec == "raw" else ["image/bytes"]
        self._offsets = ["image/offset"] if spec.encoded else []
        width = sum(layout[name].dtype.itemsize * int(np.prod(layout[name].tail)) for name in self._names)
        self._block_rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // width))
        with damage_named(store / DATASET_FILE):
            self._crc32 = None if spec.virtual else own(h5py.File(store / DATASET_FILE, "r"), "image/crc32")
        self._lock = threading.RLock()
        self._open: OrderedDict[int, dict[str, h5py.Dataset]] = OrderedDict()
        self._blocks: OrderedDict[tuple[int, int], Columns] = OrderedDict()

    def columns(self, number: int, row: int) -> tuple[Columns, int]:
        """A block of a shard's columns in which a row is, and its place there; DgaugError for a damaged shard."""
        block, place = divmod(row, self._block_rows)
        key = (number, block)
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = self._read(number, block * self._block_rows)
                if len(self._blocks) > KEPT_BLOCKS:
                    self._blocks.popitem(last=False)
            else:
                self._blocks.move_to_end(key)
            return self._blocks[key], place

    def image(self, number: int, row: int) -> bytes:
        """The bytes of a stored image; DgaugError where they are not those that were written."""
        columns, place = self.columns(number, row)
        with self._lock, damage_named(self._path(number)):
            shard = self._shard(number)
            if self._spec.encoded:
                start, stop = columns["image/offset"][place : place + 2].tolist()
                data = bytes(shard["image/bytes"][start:stop])
            else:
                data = bytes(shard["image/pixels"][row])
        if zlib.crc32(data) != columns["image/crc32"][place]:
            raise DgaugError(
                f"expected image {row} of {self._path(number)} as it was written, found damaged bytes (crc32); "
                "delete that shard and run the same `dgaug synthesize` command again"
            )
        return data

    def _read(self, number: int, first: int) -> Columns:
        with damage_named(self._path(number)):
            shard = self._shard(number)
            rows = slice(first, first + self._block_rows)
            columns: Columns = {name: shard[name][rows] for name in self._names}
            columns |= {name: shard[name][first : rows.stop + 1] for name in self._offsets}
            donors = np.concatenate([columns["pair/appearance"], columns["pair/structure"]])
            if len(donors) and not 0 <= donors.min() <= donors.max() < self._sources:
                raise ValueError(f"pairs of others than its {self._sources} sources")
        if self._crc32 is not None:
            with damage_named(self._store / DATASET_FILE):
                start = int(self._shards.start[number]) + first
                columns["image/crc32"] = self._crc32[start : start + len(columns["pair/appearance"])]
        return columns

    def _shard(self, number: int) -> dict[str, h5py.Dataset]:
        if number not in self._open:
            hdf5 = h5py.File(self._path(number), "r", rdcc_nbytes=CHUNK_CACHE)
            self._open[number] = {name: own(hdf5, name) for name in [*self._names, *self._images, *self._offsets]}
            if len(self._open) > OPEN_SHARDS:
                self._open.popitem(last=False)
        self._open.move_to_end(number)
        return self._open[number]

    def _path(self, number: int) -> Path:
        return self._store / self._shards.path[number]


def stored_donors(shard: h5py.File, rows: slice = slice(None)) -> NDArray[np.int64]:
    """The pairs of some rows, int64 [2, B]: the sources of appearance and of structure."""
    return np.stack([own(shard, f"pair/{donor}")[rows].astype(np.int64) for donor in ("appearance", "structure")])


def stored_images(shard: h5py.File, rows: slice, *, encoded: bool = True) -> list[bytes]:
    """The bytes of some rows as they are stored, unchecked; `encoded`: whether each has its own length."""
    if not encoded:
        return [pixels.tobytes() for pixels in own(shard, "image/pixels")[rows]]
    offset = own(shard, "image/offset")[rows.start : rows.stop + 1]
    content = own(shard, "image/bytes")[offset[0] : offset[-1]].tobytes()
    return [content[low:high] for low, high in pairwise((offset - offset[0]).tolist())]


def checked_jpegs(shard: h5py.File, rows: slice, checksums: NDArray[np.uint32]) -> list[bytes]:
    """The JPEG files of some rows, each checked by its crc32; DgaugError where one is damaged."""
    images = stored_images(shard, rows)
    for row, (data, checksum) in enumerate(zip(images, checksums.tolist(), strict=True), rows.start):
        if zlib.crc32(data) != checksum:
            raise DgaugError(
                f"expected image {row} of {shard.filename} as it was written, found damaged bytes (crc32); "
                "`dgaug verify` shows the damage, the same `dgaug synthesize` command again mends it once that shard "
                "is deleted"
            )
    return images
