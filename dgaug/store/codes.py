"""The codes of source images as files: what every pair is decoded from.

A file holds `code/source` [r], `code/structure` [r, C, h, w] and `code/adain` [r, 4, 2, 2, C] in half precision, each
row with its crc32. It is written aside and renamed, so a file under its name is whole.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.errors import DgaugError
from dgaug.store.safe_hdf5 import damage_named, own, reading, written_aside
from dgaug.store.schema import CODE_COLUMNS

# Sources per file: 270 MB at 256 x 128, which is what a kill may cost.
CODE_ROWS = 512
HALF = np.dtype("<f2")

Half = NDArray[np.float16]
Rows = NDArray[np.int32]


class Parts:
    """Arrays [r, ...] one after the other, as if they were one; memory-mapped ones stay on disk."""

    def __init__(self, arrays: Sequence[Half]) -> None:
        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: NDArray[np.int64]) -> Half:
        """Some rows [B, ...]."""
        chosen = np.empty((len(places), *self.shape[1:]), np.float16)
        part = np.searchsorted(self._ends, places, side="right")
        for number in np.unique(part):
            here = part == number
            first = self._ends[number] - len(self._arrays[number])
            chosen[here] = self._arrays[number][places[here] - first]
        return chosen


@dataclass(frozen=True)
class Codes:
    """Structure codes [R, C, h, w] and AdaIN parameters [R, 4, 2, 2, C] of R sources.

    `sources` int64 [R] are the rows of the source table they belong to, each once.
    """

    sources: NDArray[np.int64]
    structure: Half | Parts
    adain: Half | Parts

    @property
    def bytes(self) -> int:
        """Bytes of all codes."""
        return sum(int(np.prod(part.shape)) * HALF.itemsize for part in (self.structure, self.adain))

    def places(self, sources: Rows) -> NDArray[np.int64]:
        """Where the codes of some sources [B] are; DgaugError where one has none."""
        places = self._order[np.searchsorted(self.sources, sources, sorter=self._order).clip(max=len(self.sources) - 1)]
        if (self.sources[places] != sources).any():
            raise DgaugError("expected codes of every source that a pair names, found a pair whose source has none")
        return np.asarray(places)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(self.sources)

    def rows(self, appearance: Rows, structure: Rows) -> tuple[Tensor, Tensor]:
        """Structure codes and AdaIN parameters of pairs, float16 on CPU."""
        codes, adain = self.structure[self.places(structure)], self.adain[self.places(appearance)]
        return torch.from_numpy(codes), torch.from_numpy(adain)


def write_codes(
    path: Path, sources: NDArray[np.int64], batches: Iterable[tuple[Half, Half]], *, generator_sha256: str
) -> None:
    """Write the codes of some sources, batch by batch (structure, AdaIN), in constant memory.

    Raises DgaugError where a code is not finite in half precision, OSError where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as (hdf5, disk):
        hdf5.create_dataset("code/source", data=sources.astype(np.int32))
        for name in CODE_COLUMNS:
            hdf5.create_dataset(f"{name}_crc32", (len(sources),), np.uint32)
        done = 0
        for batch in batches:
            rows = slice(done, done + len(batch[0]))
            for name, code in zip(CODE_COLUMNS, batch, strict=True):
                if not np.isfinite(code).all():
                    raise DgaugError("expected finite codes, found others: the generator diverged in training")
                if not done:
                    hdf5.create_dataset(name, (len(sources), *code.shape[1:]), HALF)
                hdf5[name][rows] = code
                hdf5[f"{name}_crc32"][rows] = crc32_of(code)
            done = rows.stop
            disk.check()
        if done != len(sources):
            raise ValueError(f"expected the codes of {len(sources)} sources, found {done}")
        hdf5.attrs.update({"count": done, "generator_sha256": generator_sha256})


def crc32_of(codes: Half) -> NDArray[np.uint32]:
    """The crc32 of each row."""
    return np.array([zlib.crc32(row.tobytes()) for row in codes], np.uint32)


def holds_codes(path: Path, sources: NDArray[np.int64], *, generator_sha256: str) -> bool:
    """Whether the file is there with the codes of these very sources by this very generator."""
    if not path.is_file():
        return False
    with reading(path) as hdf5:
        same = hdf5.attrs["generator_sha256"] == generator_sha256
        return bool(same and np.array_equal(own(hdf5, "code/source")[:], sources))


def open_codes(paths: Sequence[Path]) -> Codes:
    """The codes in some files, memory-mapped; DgaugError where one is damaged."""
    sources: list[NDArray[np.int64]] = []
    columns: dict[str, list[Half]] = {name: [] for name in CODE_COLUMNS}
    for path in paths:
        with reading(path) as hdf5:
            sources.append(own(hdf5, "code/source")[:].astype(np.int64))
            for name, parts in columns.items():
                parts.append(_mapped(path, own(hdf5, name), rows=len(sources[-1])))
    structure, adain = (parts[0] if len(parts) == 1 else Parts(parts) for parts in columns.values())
    return Codes(np.concatenate(sources), structure, adain)


def _mapped(path: Path, column: h5py.Dataset, *, rows: int) -> Half:
    # Its bytes lie in the file as they are: no lock, no copy, and a forked process may read on.
    offset = column.id.get_offset()
    if column.dtype != HALF or offset is None or len(column) != rows:
        raise DgaugError(f"expected {rows} rows of float16 in one piece in {column.name} of {path}, found others")
    with damage_named(path):
        return np.memmap(path, HALF, "r", offset, column.shape)
