"""Write one shard of a store: a file under `shards/` that is whole as soon as it has its name."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dgaug.store.labels import half_precision, top_labels
from dgaug.store.safe_hdf5 import written_aside
from dgaug.store.schema import SCHEMA, SHARD_FOLDER, SHARD_NAME, Column, shard_path
from dgaug.store.sources import Sources, settings_digest
from dgaug.store.spec import StoreSpec, columns

# HDF5 places chunks in the order of its writes. Writing always this many images at a time makes the bytes of a
# shard independent of how its images arrived. A store of codes has more pairs and no images to hold in memory.
BLOCK, VIRTUAL_BLOCK = 256, 4096
CHUNK_BYTES = 1 << 16
CHUNK_ROWS = 4096


@dataclass(frozen=True)
class ImageBatch:
    """Finished images in the order of the design.

    Attributes:
        images: B encoded images, as `dgaug.store.codecs.encode` makes them; none in a store of codes.
        appearance, structure: int32 [B], rows of the sources.
        probabilities: [B, C], what the teacher says; None without a teacher.
    """

    images: Sequence[bytes]
    appearance: NDArray[np.int32]
    structure: NDArray[np.int32]
    probabilities: NDArray[np.floating] | None = None

    def __len__(self) -> int:
        return len(self.appearance)


def write_shard(store: Path, number: int, batches: Iterable[ImageBatch], *, spec: StoreSpec, sources: Sources) -> int:
    """Write shard `number` from its batches in constant memory; returns the number of images.

    The bytes depend on the images, pairs, labels and settings alone. Whatever stops it, no file under the shard's
    name is left unless it is whole. Raises OSError where the disk is full, and ValueError where the batches are not
    those of this shard.
    """
    part, start, stop = spec.place(number)
    path = shard_path(store, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = columns(spec, len(sources.class_name))
    with written_aside(path) as (hdf5, disk):
        _create(hdf5, layout, spec, rows=stop - start)
        count = 0
        for block in _blocks(batches, VIRTUAL_BLOCK if spec.virtual else BLOCK):
            _append(hdf5, _column_values(block, layout), count)
            if spec.encoded:
                _append_images(hdf5, block.images)
            disk.check()
            count += len(block)
        complete = not spec.min_confidence and not part  # or pairs are left out: too unsure, or in an earlier part
        if count > stop - start or (count < stop - start and complete):
            raise ValueError(f"expected the {stop - start} images of shard {number}, found {count}")
        attributes = {"schema": SCHEMA, "start": start, "stop": stop, "count": count}
        hdf5.attrs.update({**attributes, "settings": settings_digest(spec, sources, part)})
    return count


def finished_shards(store: Path) -> set[int]:
    """The numbers of the shards that are there; a shard that has its name is whole."""
    names = (f"{SHARD_FOLDER}/{path.name}" for path in (store / SHARD_FOLDER).glob("*.h5"))
    return {int(Path(name).stem) for name in names if SHARD_NAME.fullmatch(name)}


def _create(hdf5: h5py.File, layout: dict[str, Column], spec: StoreSpec, *, rows: int) -> None:
    for name, (tail, dtype) in layout.items():
        # Where pairs are nearly all there is, they are packed: those of the design `all` to almost nothing.
        is_packed = spec.virtual and name.startswith("pair/")
        packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if is_packed else {}
        # One image per chunk: a reader that jumps reads nothing but its image.
        fitting = 1 if name == "image/pixels" else CHUNK_BYTES // (dtype.itemsize * int(np.prod(tail)))
        chunk = (max(1, min(fitting, CHUNK_ROWS, rows)), *tail)
        # Images have a crc32 each; with HDF5's own, every reader refuses a damaged pair or label.
        summed = name != "image/pixels"
        hdf5.create_dataset(name, (0, *tail), dtype, maxshape=(None, *tail), chunks=chunk, fletcher32=summed, **packed)
    if spec.encoded:
        hdf5.create_dataset("image/bytes", (0,), np.uint8, maxshape=(None,), chunks=(CHUNK_BYTES,))
        chunk = (min(rows + 1, CHUNK_ROWS),)
        hdf5.create_dataset("image/offset", data=np.zeros(1, np.int64), maxshape=(None,), chunks=chunk, fletcher32=True)


def _blocks(batches: Iterable[ImageBatch], size: int) -> Iterator[ImageBatch]:
    waiting: list[ImageBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= size:
            joined = _join(waiting)
            whole = len(joined) // size * size
            for first in range(0, whole, size):
                yield _part(joined, slice(first, first + size))
            waiting = [_part(joined, slice(whole, None))]
    if any(map(len, waiting)):
        yield _join(waiting)


def _join(parts: list[ImageBatch]) -> ImageBatch:
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return ImageBatch(
        images=[image for part in parts for image in part.images],
        appearance=np.concatenate([part.appearance for part in parts]),
        structure=np.concatenate([part.structure for part in parts]),
        probabilities=np.concatenate(probabilities) if probabilities else None,
    )


def _part(batch: ImageBatch, rows: slice) -> ImageBatch:
    probabilities = None if batch.probabilities is None else batch.probabilities[rows]
    return ImageBatch(batch.images[rows], batch.appearance[rows], batch.structure[rows], probabilities)


def _column_values(block: ImageBatch, layout: dict[str, Column]) -> dict[str, NDArray[Any]]:
    values: dict[str, NDArray[Any]] = {"pair/appearance": block.appearance, "pair/structure": block.structure}
    if "image/crc32" in layout:
        values["image/crc32"] = np.array([zlib.crc32(image) for image in block.images], np.uint32)
    if "image/pixels" in layout:
        pixels = np.frombuffer(b"".join(block.images), np.uint8)
        values["image/pixels"] = pixels.reshape(-1, *layout["image/pixels"].tail)
    if "label/dense" in layout:
        values["label/dense"] = half_precision(_expected(block))
    if "label/class" in layout:
        labels = top_labels(_expected(block))
        values |= {"label/class": labels.classes, "label/probability": labels.probability, "label/rest": labels.rest}
    if any(len(column) != len(block) for column in values.values()):
        raise ValueError(f"expected one row per image, found { ({name: len(v) for name, v in values.items()}) }")
    return values


def _expected(block: ImageBatch) -> NDArray[np.floating]:
    if block.probabilities is None:
        raise ValueError("expected the teacher's probabilities for a store with labels, found none")
    return block.probabilities


def _append(hdf5: h5py.File, values: dict[str, NDArray[Any]], count: int) -> None:
    for name, rows in values.items():
        dataset = hdf5[name]
        dataset.resize(count + len(rows), axis=0)
        dataset[count:] = rows


def _append_images(hdf5: h5py.File, images: Sequence[bytes]) -> None:
    data, offset = hdf5["image/bytes"], hdf5["image/offset"]
    rows, end = len(offset), len(data)
    ends = np.array(list(accumulate(map(len, images), initial=end)), np.int64)
    data.resize(ends[-1], axis=0)
    data[end:] = np.frombuffer(b"".join(images), np.uint8)
    offset.resize(rows + len(images), axis=0)
    offset[rows:] = ends[1:]
