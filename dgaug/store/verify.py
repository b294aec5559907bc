"""Check a store bit by bit: its images, or its codes and the decoder."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent
from dgaug.store.codecs import decode
from dgaug.store.codes import crc32_of
from dgaug.store.index import ShardList, StoredFile, StoreState, file_list, read_state, shard_list
from dgaug.store.safe_hdf5 import NewerSchemaError, access_named, damage_named, own, reading, seal_holds, store_folder
from dgaug.store.schema import CODE_COLUMNS, DATASET_FILE, GENERATOR_FILE, LABEL_TOLERANCE
from dgaug.store.shard_reader import stored_donors, stored_images
from dgaug.store.sources import settings_digest
from dgaug.store.spec import columns
from dgaug.store.virtual import PairGenerator
from dgaug.surroundings import as_found

ROWS, VIRTUAL_ROWS = 256, 1 << 16
CODE_ROWS = 32


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and the file it is in (relative to the store)."""

    where: str
    what: str


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
        images: number of images the store says it has.
        shards: number of shards.
        findings: everything that is wrong; empty for a store that is whole.
    """

    images: int = 0
    shards: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def pictures(self) -> int:
        """The name that `images` had before."""
        return self.images

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@as_found
def verify(
    path: str | Path, *, progress: Progress = silent, on_progress: Callable[[int, int], None] | None = None
) -> VerifyReport:
    """Check every file, image, pair and label of a store; HDF5 opens no file before its hash was found right.

    `progress` counts images; `on_progress(done, total)` does the same, as in earlier versions. Raises DgaugError where
    there is no store, or one of a newer schema; damage is not raised but reported.
    """
    store = store_folder(Path(path))
    with access_named(store):
        return _verified(store, progress if on_progress is None else lambda _, *images: on_progress(*images[:2]))


def _verified(store: Path, progress: Progress) -> VerifyReport:
    with damage_named(store / DATASET_FILE):
        sealed = seal_holds(store / DATASET_FILE)
    if not sealed:
        return _only(
            "not as it was written (its seal is broken); delete it and run the same `dgaug synthesize` command again"
        )
    try:
        state = read_state(store)
        if state is None or not state.complete:
            return _only("unfinished; run the same `dgaug synthesize` command again to finish it")
        shards, files = shard_list(store, state), file_list(store, state)
    except NewerSchemaError:
        raise
    except DgaugError as problem:
        return _only(str(problem))
    findings = [Finding(DATASET_FILE, what) for what in _index_problems(state, shards)]
    findings += [Finding(file.path, what) for file, what in code_problems(store, state, files)]
    for number, (name, _, stop) in enumerate(shards.spans(state.count)):
        findings += [Finding(name, what) for what in _shard_problems(store, state, shards, number)]
        progress("verifying", stop, state.count)
    return VerifyReport(state.count, len(shards.path), findings)


def _only(what: str) -> VerifyReport:
    return VerifyReport(findings=[Finding(DATASET_FILE, what)])


def _index_problems(state: StoreState, shards: ShardList) -> Iterator[str]:
    sources, spec = state.sources, state.spec
    if len(set(sources.path)) != len(sources) or len(set(sources.class_name)) != len(sources.class_name):
        yield "source/path or class_name names something twice"
    if [sources.class_name[identity] for identity in sources.identity] != sources.identity_name:
        yield "source/identity and source/identity_name contradict each other"
    if len(shards.path) != spec.shard_count or not (np.diff([*shards.start, state.count]) >= 0).all():
        yield f"expected {spec.shard_count} shards in pair order, found {len(shards.path)} or another order"


def _shard_problems(store: Path, state: StoreState, shards: ShardList, number: int) -> Iterator[str]:
    file = StoredFile(shards.path[number], int(shards.size[number]), shards.sha256[number])
    damage = file.damage(store)
    if damage is not None:
        yield damage
        return
    try:
        with reading(store / DATASET_FILE) as index, reading(store / file.path) as shard:
            part = state.spec.place(number).part
            yield from _content_problems(index, shard, state, part=part, first=int(shards.start[number]))
    except DgaugError as problem:
        yield str(problem)


def _content_problems(index: h5py.File, shard: h5py.File, state: StoreState, *, part: int, first: int) -> Iterator[str]:
    if shard.attrs["settings"] != settings_digest(state.spec, state.sources, part):
        yield "written with other settings or for other sources"
    count = int(shard.attrs["count"])
    for name in columns(state.spec, len(state.sources.class_name)):
        if len(own(shard, name)) != count:
            yield f"expected {count} rows of {name}, found {len(shard[name])}"
            return
    donors = own(index, "code/source")[:] if state.spec.virtual else np.arange(len(state.sources))
    step = VIRTUAL_ROWS if state.spec.virtual else ROWS
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        for what, wrong in (
            ("pairs outside the sources", ~np.isin(stored_donors(shard, rows), donors).all(axis=0)),
            ("labels that do not sum to one", _labels_wrong(shard, rows, state)),
            ("damaged images", _images_wrong(index, shard, state, rows=rows, first=first)),
        ):
            if wrong.any():
                yield f"{int(wrong.sum())} {what}, the first at row {start + int(wrong.argmax())}"


def _labels_wrong(shard: h5py.File, rows: slice, state: StoreState) -> NDArray[np.bool_]:
    class_count = len(state.sources.class_name)
    if state.spec.labels == "none":
        return np.zeros(rows.stop - rows.start, np.bool_)
    if state.spec.labels == "dense":
        dense = own(shard, "label/dense")[rows].astype(np.float64)
        return np.asarray((abs(dense.sum(axis=1) - 1) > LABEL_TOLERANCE) | ~(dense >= 0).all(axis=1))
    classes = own(shard, "label/class")[rows].astype(np.int64)
    probability = own(shard, "label/probability")[rows].astype(np.float64)
    rest = own(shard, "label/rest")[rows].astype(np.float64)
    order = np.diff(probability, axis=1)
    ordered = ((order < 0) | ((order == 0) & (np.diff(classes, axis=1) > 0))).all(axis=1)
    known = (classes < class_count).all(axis=1) & (probability >= 0).all(axis=1) & (rest >= 0)
    return np.asarray(~(ordered & known & (abs(probability.sum(axis=1) + rest - 1) <= LABEL_TOLERANCE)))


def _images_wrong(
    index: h5py.File, shard: h5py.File, state: StoreState, *, rows: slice, first: int
) -> NDArray[np.bool_]:
    if state.spec.virtual:
        return np.zeros(rows.stop - rows.start, np.bool_)
    expected = own(index, "image/crc32")[first + rows.start : first + rows.stop]
    wrong = np.asarray(own(shard, "image/crc32")[rows] != expected)
    for place, data in enumerate(stored_images(shard, rows, encoded=state.spec.encoded)):
        wrong[place] |= zlib.crc32(data) != expected[place] or not _decodes(data, state)
    return wrong


def _decodes(data: bytes, state: StoreState) -> bool:
    try:
        decode(data, codec=state.spec.codec, image_size=state.spec.image_size)
    except DgaugError:
        return False
    return True


def code_problems(store: Path, state: StoreState, files: list[StoredFile]) -> Iterator[tuple[StoredFile, str]]:
    """Each file with each thing that is wrong in it; no file is opened before its hash was found right."""
    whole, first = True, 0
    for file in files:
        damage = file.damage(store)
        whole &= damage is None
        if damage is not None:
            yield file, damage
        elif file.holds_codes:
            try:
                with reading(store / DATASET_FILE) as index, reading(store / file.path) as codes:
                    yield from ((file, what) for what in _code_content_problems(index, codes, state, first=first))
                    first += len(own(codes, "code/source"))
            except DgaugError as problem:
                whole = False
                yield file, str(problem)
    if files and whole:
        names = [file.path for file in files if file.holds_codes]
        try:
            PairGenerator(store, names, device=torch.device("cpu"), micro_batch=1)
        except DgaugError as problem:
            yield next(file for file in files if file.path == GENERATOR_FILE), str(problem)


def _code_content_problems(index: h5py.File, codes: h5py.File, state: StoreState, *, first: int) -> Iterator[str]:
    if codes.attrs["generator_sha256"] != state.spec.generator_sha256:
        yield "made by another generator"
    sources = own(codes, "code/source")[:]
    if not np.array_equal(own(index, "code/source")[first : first + len(sources)], sources):
        yield "codes of other sources than dataset.h5 says"
    if (np.diff(sources) <= 0).any() or (sources < 0).any() or (sources >= len(state.sources)).any():
        yield "codes of sources that are not there, or not in order"
    for name in CODE_COLUMNS:
        column, crc32 = own(codes, name), own(index, f"{name}_crc32")[first : first + len(sources)]
        for start in range(0, len(sources), CODE_ROWS):
            rows = column[start : start + CODE_ROWS]
            if not np.isfinite(rows).all() or (crc32_of(rows) != crc32[start : start + CODE_ROWS]).any():
                yield f"damaged {name} at or after row {start}"
                break
