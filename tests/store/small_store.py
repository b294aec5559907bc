"""Small stores for the tests: what they hold is a function of the pair, so that a test can ask for it back."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dgaug.data.records import Record
from dgaug.store.assemble import finish_store
from dgaug.store.codecs import encode
from dgaug.store.index import begin_store
from dgaug.store.shard_writer import ImageBatch, write_shard
from dgaug.store.sources import Sources
from dgaug.store.spec import Part, StoreSpec

SIZE = 7

# All 49 pairs, three shards.
PART = Part(pairs="all", planned=SIZE * SIZE, seed=0, shard_size=20)
SPEC = StoreSpec(
    parts=(PART,),
    image_size=(12, 6),
    codec="jpeg",
    quality=90,
    labels="top",
    min_confidence=0.0,
    micro_batch=4,
    generator_sha256="ab" * 32,
    teacher_sha256="cd" * 32,
    dgaug_version="0.1.0",
)


def spec_with(**settings: object) -> StoreSpec:
    """The usual settings with others in their place; those of a design are the only part's."""
    design = {field.name: settings.pop(field.name) for field in fields(Part) if field.name in settings}
    return replace(SPEC, parts=(replace(PART, **design),), **settings)


def sources_of(size: int = SIZE) -> Sources:
    """Images of people seen three times each, from two cameras and an unknown one."""
    return Sources.of(
        Record(f"train/{row:04d}_é.jpg", identity=f"{row // 3:04d}", camera=(-1, 1, 2)[row % 3]) for row in range(size)
    )


def image_of(k: int) -> NDArray[np.uint8]:
    """The image of pair k: smooth enough for JPEG, and another for every k below 50."""
    ramp = np.arange(12)[:, None, None] * 4 + np.arange(6)[None, :, None] * 3 + np.array([0, 10, 20])
    return np.asarray((ramp + 3 * k) % 256, np.uint8)


def probabilities_of(k: int, class_count: int) -> NDArray[np.float32]:
    """What a teacher says of pair k."""
    scores = np.random.default_rng(k).exponential(size=class_count)
    return np.asarray(scores / scores.sum(), np.float32)


def batches_of(spec: StoreSpec, sources: Sources, number: int, *, size: int = 4) -> Iterator[ImageBatch]:
    """The batches of one shard of the design `all`."""
    start, stop = spec.place(number)[1:]
    for first in range(start, stop, size):
        rows = np.arange(first, min(first + size, stop))
        yield ImageBatch(
            images=[encode(image_of(k), codec=spec.codec, quality=spec.quality) for k in rows],
            appearance=(rows // len(sources)).astype(np.int32),
            structure=(rows % len(sources)).astype(np.int32),
            probabilities=np.stack([probabilities_of(k, len(sources.class_name)) for k in rows]),
        )


def write_store(store: Path, *, sources: Sources | None = None, size: int = 4, **settings: object) -> Path:
    """Write a whole store of batches of `size`, with other settings than the usual where they are given."""
    sources, spec = sources or sources_of(), spec_with(**settings)
    begin_store(store, spec, sources)
    for number in range(spec.shard_count):
        write_shard(store, number, batches_of(spec, sources, number, size=size), spec=spec, sources=sources)
    finish_store(store)
    return store


def files_of(store: Path) -> dict[str, bytes]:
    """Every file of a store."""
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def stored_jpegs(store: Path) -> list[bytes]:
    """The JPEG files as any reader of HDF5 finds them."""
    with h5py.File(store / "dataset.h5") as hdf5:
        offset, data = hdf5["image/offset"][:].tolist(), hdf5["image/bytes"][:].tobytes()
    return [data[start:stop] for start, stop in pairwise(offset)]


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def content_of(out: Path) -> dict[str, bytes]:
    """Every file but the lock."""
    return {name: data for name, data in files_of(out).items() if name != ".lock"}
