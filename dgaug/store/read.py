"""Read a finished store: a PyTorch data set of pictures, their parents and their soft labels."""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dgaug.errors import DgaugError
from dgaug.store.codecs import decode
from dgaug.store.hdf5 import damage_named, own, reading, store_folder
from dgaug.store.index import ShardList, file_size, read_state, shard_list
from dgaug.store.labels import TopLabels, dense_labels, top_labels
from dgaug.store.schema import DATASET_FILE, columns

# One file handle each; a process may usually have 1,024.
OPEN_SHARDS = 128


class StoreItem(NamedTuple):
    """One picture of a store; PyTorch's default collation makes batches of them.

    Attributes:
        picture: uint8 [H, W, 3], RGB.
        appearance, structure: rows of the sources.
        appearance_identity, structure_identity: class indices of these sources.
        label_class: int64 [K], most probable first; [0] in a store without labels.
        label_probability: float32 [K].
        label_rest: the mass of all other classes together.
    """

    picture: NDArray[np.uint8]
    appearance: int
    structure: int
    appearance_identity: int
    structure_identity: int
    label_class: NDArray[np.int64]
    label_probability: NDArray[np.float32]
    label_rest: float


class StoreDataset(Dataset[StoreItem]):
    """The pictures of a finished store, in pair order.

    Opening checks that the store is complete and that each shard is there in its full size; reading checks each
    picture's crc, so that a damaged picture is a DgaugError and never a black one. Files are opened by the process
    that reads them: pass it to workers started in any way.

    Attributes:
        path: the store folder.
        spec: the settings it was written with.
        sources: the pictures its pairs point to.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = store_folder(Path(path))
        state = read_state(self.path)
        if state is None or not state.complete:
            raise DgaugError(
                f"expected a complete store, found an unfinished one at {self.path}; "
                "run the same `dgaug synthesize` command again to finish it"
            )
        self.spec, self.sources, self._count = state.spec, state.sources, state.count
        self._shards = shard_list(self.path, state)
        _check_present(self.path, self._shards)
        self._files: _OpenFiles | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, k: int) -> StoreItem:
        """Picture k with its pair and label; DgaugError where the picture is damaged."""
        number, row = self._place(k)
        with damage_named(self.path / self._shards.path[number]):
            shard = self._opened().shard(number)
            appearance, structure = int(shard["pair/appearance"][row]), int(shard["pair/structure"][row])
            identity = self.sources.identity
            labels = self._labels(shard, row)
            return StoreItem(
                picture=self._picture(shard, number, row),
                appearance=appearance,
                structure=structure,
                appearance_identity=int(identity[appearance]),
                structure_identity=int(identity[structure]),
                label_class=labels.classes[0].astype(np.int64),
                label_probability=labels.probability[0].astype(np.float32),
                label_rest=float(labels.rest[0]),
            )

    def dense_label(self, k: int) -> NDArray[np.float32]:
        """The soft label of picture k over all classes [C]; DgaugError in a store without labels."""
        if self.spec.labels == "none":
            raise DgaugError(f"expected a store with labels, found none in {self.path}; synthesize with a teacher")
        number, row = self._place(k)
        with damage_named(self.path / self._shards.path[number]):
            shard = self._opened().shard(number)
            if self.spec.labels == "dense":
                dense = shard["label/dense"][row : row + 1]
            else:
                dense = dense_labels(self._labels(shard, row), len(self.sources.class_name))
            return np.asarray(dense.astype(np.float32)[0])

    def pairs(self) -> NDArray[np.int64]:
        """The pairs of all pictures, int64 [M, 2]: appearance and structure row; DgaugError for a damaged shard."""
        pairs = np.empty((len(self), 2), np.int64)
        bounds = [*self._shards.start.tolist(), len(self)]
        for name, (start, stop) in zip(self._shards.path, pairwise(bounds), strict=True):
            with reading(self.path / name) as shard:
                for column, donor in enumerate(("appearance", "structure")):
                    pairs[start:stop, column] = own(shard, f"pair/{donor}")[:]
        return pairs

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the open files, which belong to one process."""
        return {**self.__dict__, "_files": None}

    def _place(self, k: int) -> tuple[int, int]:
        row = k + len(self) if k < 0 else k
        if not 0 <= row < len(self):
            raise IndexError(f"picture {k} of a store of {len(self)}")
        number = int(np.searchsorted(self._shards.start, row, side="right")) - 1
        return number, row - int(self._shards.start[number])

    def _opened(self) -> _OpenFiles:
        if self._files is None or self._files.process != os.getpid():
            # A forked worker lets go of its parent's handles before it opens the same files.
            self._files = None
            self._files = _OpenFiles(
                self.path, self._shards.path, list(columns(self.spec, len(self.sources.class_name)))
            )
        return self._files

    def _picture(self, shard: dict[str, h5py.Dataset], number: int, row: int) -> NDArray[np.uint8]:
        if self.spec.codec == "raw":
            data = shard["image/pixels"][row].tobytes()
        else:
            start, stop = shard["image/offset"][row : row + 2].tolist()
            data = shard["image/bytes"][start:stop].tobytes()
        if zlib.crc32(data) != self._opened().crc32(int(self._shards.start[number]) + row):
            raise DgaugError(
                f"expected picture {row} of {self.path / self._shards.path[number]} as it was written, found damaged "
                "bytes (crc32); delete that shard and run the same `dgaug synthesize` command again"
            )
        return decode(data, codec=self.spec.codec, image_size=self.spec.image_size)

    def _labels(self, shard: dict[str, h5py.Dataset], row: int) -> TopLabels:
        rows = slice(row, row + 1)
        if self.spec.labels == "top":
            return TopLabels(shard["label/class"][rows], shard["label/probability"][rows], shard["label/rest"][rows])
        if self.spec.labels == "dense":
            return top_labels(shard["label/dense"][rows].astype(np.float32))
        return TopLabels(np.zeros((1, 0), np.uint16), np.zeros((1, 0), np.float16), np.zeros(1, np.float16))


class _OpenFiles:
    """The files that one process has open: `dataset.h5`, and the shards it read last."""

    def __init__(self, store: Path, shard_paths: list[str], names: list[str]) -> None:
        self.process = os.getpid()
        self._store = store
        self._shard_paths = shard_paths
        self._names = names
        self._crc32 = own(h5py.File(store / DATASET_FILE, "r"), "image/crc32")
        self._shards: OrderedDict[int, dict[str, h5py.Dataset]] = OrderedDict()

    def crc32(self, k: int) -> int:
        return int(self._crc32[k])

    def shard(self, number: int) -> dict[str, h5py.Dataset]:
        if number not in self._shards:
            hdf5 = h5py.File(self._store / self._shard_paths[number], "r")
            bytewise = [] if "image/pixels" in self._names else ["image/bytes", "image/offset"]
            self._shards[number] = {name: own(hdf5, name) for name in [*self._names, *bytewise]}
            if len(self._shards) > OPEN_SHARDS:
                self._shards.popitem(last=False)
        self._shards.move_to_end(number)
        return self._shards[number]


def open_store(path: str | Path) -> StoreDataset:
    """Open a finished store by its folder or its `dataset.h5`.

    Raises DgaugError where the store is unfinished, of a newer schema, points outside its folder, or lacks a shard.
    """
    return StoreDataset(path)


def _check_present(store: Path, shards: ShardList) -> None:
    for path, size in zip(shards.path, shards.size.tolist(), strict=True):
        found = file_size(store / path)
        if found != size:
            what = "no file" if found is None else f"{found} bytes"
            raise DgaugError(
                f"expected the shard {store / path} of {size} bytes, found {what}; "
                "run the same `dgaug synthesize` command again, it makes what is missing"
            )
