"""Assemble `dataset.h5` from finished shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.progress import Progress, silent
from dgaug.store.codes import HALF
from dgaug.store.index import StoreState, read_state, write_header
from dgaug.store.safe_hdf5 import Disk, own, reading, written_aside
from dgaug.store.schema import (
    CODE_COLUMNS,
    CODE_FOLDER,
    DATASET_FILE,
    GENERATOR_FILE,
    SHARD_FOLDER,
    Column,
    code_path,
    shard_path,
)
from dgaug.store.sources import settings_digest
from dgaug.store.spec import StoreSpec, columns

COPY_ROWS = 1 << 18


def finish_store(store: Path, *, spec: StoreSpec | None = None, progress: Progress = silent) -> int:
    """Assemble `dataset.h5` from the shards in constant memory; returns the number of images.

    `spec` has the parts that were added; None: none were. `progress` counts shards. A complete store
    without new parts stays as it is; one with new parts is itself until it is replaced. Raises DgaugError where a shard
    is missing or belongs to another job, OSError where the disk is full.
    """
    state = read_state(store)
    if state is None:
        raise DgaugError(f"expected a store that was begun, found no {DATASET_FILE} in {store}")
    if state.complete and spec in (None, state.spec):
        return state.count
    state = replace(state, spec=spec or state.spec)
    counts, lengths = _measure(store, state)
    header = StoreState(state.spec, state.sources, True, int(counts[-1]))
    with written_aside(store / DATASET_FILE, sealed=True) as (hdf5, disk):
        write_header(hdf5, header)
        if state.spec.virtual:
            _add_codes(store, hdf5)
        else:
            _copy_columns(store, hdf5, disk, counts=counts, lengths=lengths if state.spec.encoded else None)
        _write_shard_list(store, hdf5, counts, progress)
        shards = [f"{SHARD_FOLDER}/{shard_path(store, number).name}" for number in range(state.spec.shard_count)]
        for name, column in columns(state.spec, len(state.sources.class_name)).items():
            if name != "image/crc32":
                _create_virtual(hdf5, name, counts, shards, column)
        if state.spec.encoded:
            _create_virtual(hdf5, "image/bytes", lengths, shards, Column((), np.dtype(np.uint8)))
        hdf5.flush()
        disk.check()
    return header.count


def _measure(store: Path, state: StoreState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each shard begins, in images and in bytes [S + 1]; DgaugError for a shard missing or foreign."""
    settings = [settings_digest(state.spec, state.sources, part) for part in range(len(state.spec.parts))]
    counts, lengths = [0], [0]
    for number in range(state.spec.shard_count):
        path, place = shard_path(store, number), state.spec.place(number)
        with reading(path) as shard:
            if shard.attrs["settings"] != settings[place.part] or shard.attrs["start"] != place.start:
                raise DgaugError(f"expected {path} to belong to this store, found a shard of another; delete it")
            counts.append(counts[-1] + int(shard.attrs["count"]))
            lengths.append(lengths[-1] + (len(own(shard, "image/bytes")) if state.spec.encoded else 0))
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


def _add_codes(store: Path, hdf5: h5py.File) -> None:
    """Link the codes, copy what is small of them, and list their files and the decoder's with their hashes."""
    paths = sorted((store / CODE_FOLDER).glob("[0-9]*.h5"))
    if paths != [code_path(store / CODE_FOLDER, number) for number in range(max(1, len(paths)))]:
        raise DgaugError(f"expected the codes of the sources in {store / CODE_FOLDER}, found some missing")
    small: dict[str, list[NDArray[np.generic]]] = {"code/source": []}
    small.update({f"{name}_crc32": [] for name in CODE_COLUMNS})
    tails: dict[str, tuple[int, ...]] = {}
    for path in paths:
        with reading(path) as codes:
            for name, parts in small.items():
                parts.append(own(codes, name)[:])
            tails = {name: own(codes, name).shape[1:] for name in CODE_COLUMNS}
    for name, parts in small.items():
        hdf5.create_dataset(name, data=np.concatenate(parts))
    starts = np.cumsum([0, *(len(part) for part in small["code/source"])])
    names = [f"{CODE_FOLDER}/{path.name}" for path in paths]
    for name, tail in tails.items():
        _create_virtual(hdf5, name, starts, names, Column(tail, HALF))
    files = [*names, GENERATOR_FILE]
    text = h5py.string_dtype()
    hdf5.create_dataset("file/path", data=files, dtype=text)
    hdf5.create_dataset("file/size", data=np.array([(store / name).stat().st_size for name in files], np.int64))
    hdf5.create_dataset("file/sha256", data=[file_sha256(store / name) for name in files], dtype=text)


def _write_shard_list(store: Path, hdf5: h5py.File, counts: NDArray[np.int64], progress: Progress) -> None:
    total = len(counts) - 1
    paths = [shard_path(store, number) for number in range(total)]
    hashes = []
    for done, path in enumerate(paths, start=1):
        hashes.append(file_sha256(path))
        progress("assembling", done, total)
    text = h5py.string_dtype()
    hdf5.create_dataset("shard/path", data=[path.relative_to(store).as_posix() for path in paths], dtype=text)
    hdf5.create_dataset("shard/start", data=counts[:-1])
    hdf5.create_dataset("shard/size", data=np.array([path.stat().st_size for path in paths], np.int64))
    hdf5.create_dataset("shard/sha256", data=hashes, dtype=text)


def _create_virtual(
    hdf5: h5py.File, name: str, starts: NDArray[np.int64], files: Sequence[str], column: Column
) -> None:
    # The low-level call, because h5py's own stores the time of creation in a virtual data set.
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_obj_track_times(False)
    layout.set_layout(h5py.h5d.VIRTUAL)
    tail, shape = column.tail, (int(starts[-1]), *column.tail)
    for file, (start, stop) in zip(files, pairwise(starts.tolist()), strict=True):
        if start < stop:
            target = h5py.h5s.create_simple(shape)
            target.select_hyperslab((start, *(0 for _ in tail)), (stop - start, *tail))
            origin = h5py.h5s.create_simple((stop - start, *tail))
            layout.set_virtual(target, file.encode(), name.encode(), origin)
    group, _, leaf = name.rpartition("/")
    kind = h5py.h5t.py_create(column.dtype, logical=True)
    h5py.h5d.create(hdf5.require_group(group).id, leaf.encode(), kind, h5py.h5s.create_simple(shape), layout)
