"""Assemble `dataset.h5` from finished shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.store.aside import Disk, file_sha256, written_aside
from dgaug.store.hdf5 import own, reading
from dgaug.store.index import StoreState, read_state, write_header
from dgaug.store.schema import DATASET_FILE, SHARD_FOLDER, columns, shard_path
from dgaug.store.sources import settings_digest

COPY_ROWS = 1 << 18


def finish_store(store: Path, *, on_progress: Callable[[int, int], None] | None = None) -> int:
    """Assemble `dataset.h5` from the shards in constant memory; returns the number of pictures.

    `on_progress(done, total)` counts shards. A complete store stays as it is. Raises DgaugError where a shard is
    missing or belongs to another job, OSError where the disk is full.
    """
    state = read_state(store)
    if state is None:
        raise DgaugError(f"expected a store that was begun, found no {DATASET_FILE} in {store}")
    if state.complete:
        return state.count
    counts, lengths = _measure(store, state)
    header = StoreState(state.spec, state.sources, True, int(counts[-1]))
    with written_aside(store / DATASET_FILE, sealed=True) as (hdf5, disk):
        write_header(hdf5, header)
        _copy_columns(store, hdf5, disk, counts=counts, lengths=lengths if state.spec.codec != "raw" else None)
        _write_shard_list(store, hdf5, counts, on_progress)
        for name, column in columns(state.spec, len(state.sources.class_name)).items():
            if name != "image/crc32":
                _create_virtual(hdf5, name, counts, tail=column.tail, dtype=column.dtype)
        if state.spec.codec != "raw":
            _create_virtual(hdf5, "image/bytes", lengths, tail=(), dtype=np.dtype(np.uint8))
        hdf5.flush()
        disk.check()
    return header.count


def _measure(store: Path, state: StoreState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each shard begins, in pictures and in bytes [S + 1]; DgaugError for a shard missing or foreign."""
    settings = settings_digest(state.spec, state.sources)
    counts, lengths = [0], [0]
    for number in range(state.spec.shard_count):
        path = shard_path(store, number)
        with reading(path) as shard:
            if shard.attrs["settings"] != settings or shard.attrs["start"] != state.spec.shard_range(number)[0]:
                raise DgaugError(f"expected {path} to belong to this store, found a shard of another; delete it")
            counts.append(counts[-1] + int(shard.attrs["count"]))
            lengths.append(lengths[-1] + (0 if state.spec.codec == "raw" else len(own(shard, "image/bytes"))))
    return np.array(counts, np.int64), np.array(lengths, np.int64)


def _copy_columns(
    store: Path, hdf5: h5py.File, disk: Disk, *, counts: NDArray[np.int64], lengths: NDArray[np.int64] | None
) -> None:
    crc32 = hdf5.create_dataset("image/crc32", (counts[-1],), np.uint32)
    offset = None
    if lengths is not None:
        offset = hdf5.create_dataset("image/offset", (counts[-1] + 1,), np.int64)
        offset[-1] = lengths[-1]
    for number, (start, stop) in enumerate(zip(counts[:-1].tolist(), counts[1:].tolist(), strict=True)):
        with reading(shard_path(store, number)) as shard:
            for first in range(0, stop - start, COPY_ROWS):
                last = min(first + COPY_ROWS, stop - start)
                crc32[start + first : start + last] = own(shard, "image/crc32")[first:last]
                if offset is not None and lengths is not None:
                    offset[start + first : start + last] = own(shard, "image/offset")[first:last] + lengths[number]
        disk.check()


def _write_shard_list(
    store: Path, hdf5: h5py.File, counts: NDArray[np.int64], on_progress: Callable[[int, int], None] | None
) -> None:
    total = len(counts) - 1
    paths = [shard_path(store, number) for number in range(total)]
    hashes = []
    for done, path in enumerate(paths, start=1):
        hashes.append(file_sha256(path))
        if on_progress is not None:
            on_progress(done, total)
    text = h5py.string_dtype()
    hdf5.create_dataset("shard/path", data=[path.relative_to(store).as_posix() for path in paths], dtype=text)
    hdf5.create_dataset("shard/start", data=counts[:-1])
    hdf5.create_dataset("shard/size", data=np.array([path.stat().st_size for path in paths], np.int64))
    hdf5.create_dataset("shard/sha256", data=hashes, dtype=text)


def _create_virtual(
    hdf5: h5py.File, name: str, starts: NDArray[np.int64], *, tail: tuple[int, ...], dtype: np.dtype[np.generic]
) -> None:
    # The low-level call, because h5py's own stores the time of creation in a virtual data set.
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_obj_track_times(False)
    layout.set_layout(h5py.h5d.VIRTUAL)
    shape = (int(starts[-1]), *tail)
    for number, (start, stop) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)):
        if start < stop:
            target = h5py.h5s.create_simple(shape)
            target.select_hyperslab((start, *(0 for _ in tail)), (stop - start, *tail))
            origin = h5py.h5s.create_simple((stop - start, *tail))
            layout.set_virtual(target, f"{SHARD_FOLDER}/{number:06d}.h5".encode(), name.encode(), origin)
    space = h5py.h5s.create_simple(shape)
    group = hdf5.require_group(name.rsplit("/", 1)[0])
    h5py.h5d.create(group.id, name.rsplit("/", 1)[1].encode(), h5py.h5t.py_create(dtype, logical=True), space, layout)
