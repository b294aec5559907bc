"""Read a finished store: a PyTorch data set of images, their parents and their soft labels."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from dgaug.device import default_device, named_device
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_reid
from dgaug.models.reid import AnyReidNetwork
from dgaug.store.codecs import decode
from dgaug.store.index import StoredFile, file_list, file_size, listed_sizes, read_state, shard_list
from dgaug.store.labels import TopLabels, stored_dense_label, stored_label, top_labels
from dgaug.store.micro_batch import on_demand
from dgaug.store.safe_hdf5 import access_named, reading, store_folder
from dgaug.store.shard_reader import Columns, ShardFiles, stored_donors
from dgaug.store.spec import columns
from dgaug.store.virtual import Mixed, PairGenerator, label_images
from dgaug.surroundings import as_found, usual_arithmetic
from dgaug.transfer import upload

Pixels = NDArray[np.uint8]
_MANY = 1 << 20


class StoreItem(NamedTuple):
    """One image of a store; PyTorch's default collation makes batches of them.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        appearance, structure: rows of the sources.
        appearance_identity, structure_identity: class indices of these sources.
        label_class: int64 [K], most probable first; [0] where there are no labels.
        label_probability: float32 [K].
        label_rest: the mass of all other classes together.
    """

    image: Pixels
    appearance: int
    structure: int
    appearance_identity: int
    structure_identity: int
    label_class: NDArray[np.int64]
    label_probability: NDArray[np.float32]
    label_rest: float

    @property
    def picture(self) -> Pixels:
        """The name that `image` had before."""
        return self.image


class StoreBatch(NamedTuple):
    """Images of a store for training, on the store's device.

    Attributes:
        pixels: uint8 [B, H, W, 3], RGB.
        labels: soft labels float32 [B, C]; None where there are no labels.
        appearance_identity, structure_identity: class indices int64 [B] of the donors.
    """

    pixels: Tensor
    labels: Tensor | None
    appearance_identity: Tensor
    structure_identity: Tensor


class StoreDataset(Dataset[StoreItem]):
    """The images of a finished store, in pair order.

    Opening checks that the store is complete and that each of its files is there in its full size; reading checks the
    crc of each image or code, so that damage is a DgaugError and never a black image. Files are opened, and the
    networks that draw and label on demand are built, by the process that uses them: pass it to workers started in any
    way.

    Attributes:
        path: the store folder.
        spec: the settings it was written with.
        sources: the images its pairs point to.
        shards: the files of its pairs; their hashes are those of its content.
        has_labels: whether its images have soft labels, stored or made on demand.
    """

    def __init__(
        self, path: str | Path, *, device: str | torch.device | None = None, teacher: str | Path | None = None
    ) -> None:
        self.path = store_folder(Path(path))
        with access_named(self.path):
            state = read_state(self.path)
            if state is None or not state.complete:
                raise DgaugError(
                    f"expected a complete store, found an unfinished one at {self.path}; "
                    "run the same `dgaug synthesize` command again to finish it"
                )
            _check_present(self.path, listed_sizes(self.path, state))
            self.spec, self.sources, self._count = state.spec, state.sources, state.count
            self.shards = shard_list(self.path, state)
            self._starts = self.shards.start.tolist()
            self._identity = self.sources.identity.tolist()
            files = file_list(self.path, state)
            self._code_files = [file.path for file in files if file.holds_codes]
            self._decoder_file = next((file for file in files if not file.holds_codes), None)
            self._device = named_device(device) if isinstance(device, str) else device
            # Absolute as the store is: both may be opened only later, in another working directory.
            self._teacher = None if teacher is None else Path(teacher).absolute()
            self.has_labels = self.spec.labels != "none" or teacher is not None
            self._tools: _Tools | None = None
            if self.spec.virtual or teacher is not None:
                self._opened()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, k: int) -> StoreItem:
        """Image k with its pair and label; DgaugError where it is damaged."""
        return self.__getitems__([k])[0]

    @property
    def generated_at_once(self) -> int:
        """Images to ask for together when many are wanted: what the device draws or labels at a time."""
        device = self._opened().device
        return on_demand(device, self.spec.micro_batch, asked=_MANY, image_size=self.spec.image_size)

    def __iter__(self) -> Iterator[StoreItem]:
        """All images in order; drawn ones some at a time."""
        size = self.generated_at_once
        for start in range(0, len(self), size):
            yield from self.__getitems__(range(start, min(start + size, len(self))))

    def __getitems__(self, ks: Iterable[int]) -> list[StoreItem]:
        """Several images at once, as PyTorch's loader asks for them."""
        rows = [self._row(k) for k in ks]
        if not (self.spec.virtual or self._teacher):
            return [self._item(row, self._stored(row), self._label(row)) for row in rows]
        pixels = self._pixels(rows)
        made = self._made_labels(pixels)
        if made is None:
            labels = [self._label(row) for row in rows]
        else:
            labels = [top_labels(row[None]) for row in made.cpu().numpy()]
        return [self._item(*parts) for parts in zip(rows, pixels.cpu().numpy(), labels, strict=True)]

    def batch(self, ks: Sequence[int] | NDArray[np.int64], *, mixed: Mixed | None = None) -> StoreBatch:
        """Several images as tensors with their soft labels over all classes.

        `mixed`: images of a store of codes in whose appearance another one is mixed (rows of the sources).

        Raises:
            DgaugError: one is damaged, or there is no code to mix.
        """
        device = self._opened().device
        rows = [self._row(int(k)) for k in ks]
        if mixed is not None and not self.spec.virtual:
            raise DgaugError(f"the store {self.path} holds images; appearances are mixed in a store of codes")
        pixels = self._pixels(rows, mixed)
        labels = self._made_labels(pixels)
        if labels is None and self.has_labels:
            labels = upload(np.stack([self._dense(row) for row in rows]), device)
        donors = (
            upload(self.sources.identity[[row.donor(name) for row in rows]].astype(np.int64), device)
            for name in ("appearance", "structure")
        )
        return StoreBatch(pixels, labels, *donors)

    def stored_bytes(self, k: int) -> bytes:
        """Image k as the store keeps it: a JPEG or PNG file, or raw pixels; DgaugError where it is damaged."""
        row = self._row(k)
        return self._opened().files.image(row.number, row.row)

    def dense_label(self, k: int) -> NDArray[np.float32]:
        """The soft label of image k over all classes [C]; DgaugError where there are no labels."""
        if not self.has_labels:
            raise DgaugError(
                f"expected a store with labels, found none in {self.path}; "
                "open it with a teacher, or synthesize with one"
            )
        labels = self.batch([k]).labels if self._teacher is not None else None
        return self._dense(self._row(k)) if labels is None else np.asarray(labels[0].cpu().numpy())

    def pairs(self) -> NDArray[np.int64]:
        """The pairs of all images, int64 [M, 2]: appearance and structure row; DgaugError for a damaged shard."""
        pairs = np.empty((len(self), 2), np.int64)
        for name, start, stop in self.shards.spans(len(self)):
            with reading(self.path / name) as shard:
                pairs[start:stop] = stored_donors(shard).T
        return pairs

    def donors(self, k: int) -> tuple[int, int]:
        """The pair of image k: appearance and structure row of the sources; DgaugError for a damaged shard."""
        row = self._row(k)
        return row.donor("appearance"), row.donor("structure")

    def appearances(self, ks: NDArray[np.int64]) -> NDArray[np.int32]:
        """The appearance rows, int32 [B], of some images."""
        return np.array([self._row(int(k)).donor("appearance") for k in ks], np.int32)

    def rows_between(self, sources: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The images whose two donors are both among some sources [N]; DgaugError for a damaged shard."""
        rows_found = []
        for name, start, _ in self.shards.spans(len(self)):
            with reading(self.path / name) as shard:
                appearance, structure = stored_donors(shard)
            rows_found.append(start + np.flatnonzero(sources[appearance] & sources[structure]))
        return np.concatenate(rows_found)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but open files and networks, which belong to one process."""
        return {**self.__dict__, "_tools": None}

    def _row(self, k: int) -> _Row:
        row = k + len(self) if k < 0 else k
        if not 0 <= row < len(self):
            raise IndexError(f"image {k} of a store of {len(self)}")
        number = bisect_right(self._starts, row) - 1
        place = row - self._starts[number]
        return _Row(number, place, *self._opened().files.columns(number, place))

    def _item(self, row: _Row, image: Pixels, label: TopLabels) -> StoreItem:
        appearance, structure = row.donor("appearance"), row.donor("structure")
        return StoreItem(
            image=image,
            appearance=appearance,
            structure=structure,
            appearance_identity=self._identity[appearance],
            structure_identity=self._identity[structure],
            label_class=label.classes[0].astype(np.int64),
            label_probability=label.probability[0].astype(np.float32),
            label_rest=float(label.rest[0]),
        )

    def _stored(self, row: _Row) -> Pixels:
        data = self._opened().files.image(row.number, row.row)
        return decode(data, codec=self.spec.codec, image_size=self.spec.image_size)

    def _label(self, row: _Row) -> TopLabels:
        return stored_label(row.columns, row.place, kind=self.spec.labels)

    def _dense(self, row: _Row) -> NDArray[np.float32]:
        count = len(self.sources.class_name)
        return stored_dense_label(row.columns, row.place, kind=self.spec.labels, class_count=count)

    def _pixels(self, rows: list[_Row], mixed: Mixed | None = None) -> Tensor:
        tools = self._opened()
        if tools.drawer is None:
            return upload(np.stack([self._stored(row) for row in rows]), tools.device)
        appearance, structure = (
            np.array([row.donor(name) for row in rows], np.int32) for name in ("appearance", "structure")
        )
        with usual_arithmetic():
            return tools.drawer.generate(appearance, structure, mixed)

    def _made_labels(self, pixels: Tensor) -> Tensor | None:
        tools = self._opened()
        if tools.teacher is None:
            return None
        size = on_demand(tools.device, self.spec.micro_batch, asked=len(pixels), image_size=self.spec.image_size)
        with usual_arithmetic():
            return label_images(tools.teacher, pixels, micro_batch=size)

    def _opened(self) -> _Tools:
        tools = self._tools
        if tools is None or tools.process != os.getpid():
            # A forked worker lets go of its parent's handles before it opens the same files.
            self._tools = None
            # Of two threads that come first at a time, each opens them, and one set is soon closed.
            with access_named(self.path):
                tools = self._tools = self._open()
        return tools

    def _open(self) -> _Tools:
        device = self._device or (torch.device("cpu") if get_worker_info() else default_device())
        size = self.spec.micro_batch
        if self._decoder_file is not None:
            _require_whole(self.path, self._decoder_file)
        drawer = (
            PairGenerator(self.path, self._code_files, device=device, micro_batch=size) if self.spec.virtual else None
        )
        teacher = None
        if self._teacher is not None:
            rows_found = load_reid(self._teacher)
            rows_found.require(self.sources.class_name, self.spec.image_size, source=str(self.path))
            teacher = rows_found.network.to(device)
        layout = columns(self.spec, len(self.sources.class_name))
        files = ShardFiles(self.path, self.spec, self.shards, layout, sources=len(self.sources))
        return _Tools(os.getpid(), device, files, drawer, teacher)


class _Row(NamedTuple):
    """An image's row in a shard, and the block of columns with its place there."""

    number: int
    row: int
    columns: Columns
    place: int

    def donor(self, name: str) -> int:
        """The row of its appearance or structure among the sources."""
        return int(self.columns[f"pair/{name}"][self.place])


@dataclass(frozen=True)
class _Tools:
    """What one process has open."""

    process: int
    device: torch.device
    files: ShardFiles
    drawer: PairGenerator | None
    teacher: AnyReidNetwork | None


@as_found
def open_store(
    path: str | Path, *, device: str | torch.device | None = None, teacher: str | Path | None = None
) -> StoreDataset:
    """Open a finished store by its folder or its `dataset.h5`.

    Args:
        path: the store.
        device: where images of a store of codes are drawn, labels made on demand and batches put; None: the first
            CUDA device where there is one, else the CPU; in a loader's worker the CPU.
        teacher: a re-id checkpoint that makes the soft labels on demand, in place of those that are stored.

    Raises:
        DgaugError: the store is unfinished, of a newer schema, points outside its folder, lacks a file or has a
            damaged decoder, or the teacher does not fit it.
    """
    return StoreDataset(path, device=device, teacher=teacher)


def _require_whole(store: Path, file: StoredFile) -> None:
    """DgaugError where a file is not as it was written; weights have no checksums of their own."""
    damage = file.damage(store)
    if damage is not None:
        raise DgaugError(
            f"{store / file.path}: {damage}; delete it and run the same `dgaug synthesize` command again, it makes "
            "what is missing"
        )


def _check_present(store: Path, sizes: Iterable[tuple[str, int]]) -> None:
    for path, size in sizes:
        rows_found = file_size(store / path)
        if rows_found != size:
            what = "no file" if rows_found is None else f"{rows_found} bytes"
            raise DgaugError(
                f"expected the file {store / path} of {size} bytes, found {what}; "
                "run the same `dgaug synthesize` command again, it makes what is missing"
            )
