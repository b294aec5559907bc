"""The file to open, `dataset.h5`: begun before the first shard; what it says of a store."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.outputs import AFRESH, require_same_settings
from dgaug.store.safe_hdf5 import check_schema, damage_named, linked, own, reading, seal_holds, written_aside
from dgaug.store.schema import (
    CODE_COLUMNS,
    DATASET_FILE,
    FILE_NAME,
    GENERATOR_FILE,
    SCHEMA,
    SHARD_FOLDER,
    SHARD_NAME,
    VERSION,
)
from dgaug.store.sources import Sources, settings_digest
from dgaug.store.spec import DESIGN_SETTINGS, StoreSpec, columns


@dataclass(frozen=True)
class StoreState:
    """What `dataset.h5` says of a store, finished or not; `count` is that of the design until it is complete."""

    spec: StoreSpec
    sources: Sources
    complete: bool
    count: int


@dataclass(frozen=True)
class ShardList:
    """The shards of a finished store, in pair order: rows [start, start + count) of the store each."""

    path: list[str]
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    sha256: list[str]

    def spans(self, count: int) -> list[tuple[str, int, int]]:
        """Each shard's path and its rows [start, stop) of a store of `count` images."""
        bounds = pairwise([*self.start.tolist(), count])
        return [(path, start, stop) for path, (start, stop) in zip(self.path, bounds, strict=True)]


class StoredFile(NamedTuple):
    """A file that a finished `dataset.h5` names: its path in the store, its size in bytes, its hash."""

    path: str
    size: int
    sha256: str

    @property
    def holds_codes(self) -> bool:
        """Whether codes are in it, and not the decoder."""
        return self.path != GENERATOR_FILE

    def damage(self, store: Path) -> str | None:
        """What is wrong with the file as can be told without parsing it; None where nothing is."""
        size = file_size(store / self.path)
        if size != self.size:
            return "missing" if size is None else f"expected {self.size} bytes, found {size}"
        return None if file_sha256(store / self.path) == self.sha256 else "not as it was written (sha256)"


def read_state(store: Path) -> StoreState | None:
    """What is at `store`: None where no store was begun; DgaugError where it is damaged or of a newer schema."""
    path = store / DATASET_FILE
    if not path.exists():
        return None
    _require_sealed(store)
    with reading(path) as hdf5:
        check_schema(hdf5)
        for name in ("path", "identity", "identity_name", "camera"):
            own(hdf5, f"source/{name}")
        own(hdf5, "class_name")
        complete, count = bool(hdf5.attrs["complete"]), int(hdf5.attrs["count"])
        sources = Sources.read(hdf5)
        if not 0 <= count <= len(sources) ** 2:
            raise DgaugError(f"expected at most all pairs of {len(sources)} sources, found {count} in {path}")
        return StoreState(StoreSpec.read(hdf5), sources, complete, count)


def _require_sealed(store: Path) -> None:
    """DgaugError where `dataset.h5` is not as it was written; told before HDF5, which may crash on damage, opens it."""
    with damage_named(store / DATASET_FILE):
        sealed = seal_holds(store / DATASET_FILE)
    if not sealed:
        raise DgaugError(
            f"{store / DATASET_FILE}: not as it was written (its seal is broken); delete it and run the same "
            "`dgaug synthesize` command again"
        )


def begin_store(store: Path, spec: StoreSpec, sources: Sources) -> StoreState:
    """Write an unfinished `dataset.h5`, or resume the store that is there.

    A complete store stays as it is, also while parts are added to it, unless files of it are missing or cut short:
    then it is unfinished again. Raises DgaugError where the store there has other settings or other sources, naming
    them.
    """
    state = read_state(store)
    if state is None:
        return _write_unfinished(store, spec, sources)
    _require_same(store, state, spec, sources)
    if not state.complete:
        return state if state.spec == spec else _write_unfinished(store, spec, sources)
    damaged = [path for path, size in listed_sizes(store, state) if file_size(store / path) != size]
    for path in damaged:
        (store / path).unlink(missing_ok=True)
    _drop_abandoned(store, spec, sources, listed=state.spec.shard_count)
    if damaged:
        return _write_unfinished(store, spec, sources)
    return state if state.spec == spec else StoreState(spec, sources, complete=False, count=spec.planned)


def _require_same(store: Path, state: StoreState, spec: StoreSpec, sources: Sources) -> None:
    before = state.spec.attributes()
    asked = dict(before) if spec.extends(state.spec) else spec.attributes()
    remedy = AFRESH
    if sources.digest() != state.sources.digest():
        before["sources"], asked["sources"] = f"{len(state.sources)} images", f"{len(sources)} other ones"
    elif {name for name in before if before[name] != asked[name]} <= DESIGN_SETTINGS:
        remedy = f"add them with --add, {AFRESH}"
    require_same_settings(store, before, asked, remedy=remedy)


def _drop_abandoned(store: Path, spec: StoreSpec, sources: Sources, *, listed: int) -> None:
    """Remove shards of parts that were begun to be added, and are not what is added now."""
    for path in (store / SHARD_FOLDER).glob("*.h5"):
        number = int(path.stem)
        if number < listed:
            continue
        with reading(path) as shard:
            mine = number < spec.shard_count and shard.attrs["settings"] == settings_digest(
                spec, sources, spec.place(number).part
            )
        if not mine:
            path.unlink()


def shard_list(store: Path, state: StoreState) -> ShardList:
    """The shards that a finished `dataset.h5` names; DgaugError where anything in it points elsewhere."""
    with reading(store / DATASET_FILE) as hdf5:
        shards = ShardList(
            path=own(hdf5, "shard/path").asstr()[:].tolist(),
            start=own(hdf5, "shard/start")[:],
            size=own(hdf5, "shard/size")[:],
            sha256=own(hdf5, "shard/sha256").asstr()[:].tolist(),
        )
        for path in shards.path:
            if not SHARD_NAME.fullmatch(path):
                raise DgaugError(f"expected shards below {store / SHARD_FOLDER}, found '{path}'; refused")
        known = set(shards.path)
        names = [name for name in columns(state.spec, len(state.sources.class_name)) if name != "image/crc32"]
        for name in [*names, "image/bytes"] if state.spec.encoded else names:
            _require_origin(hdf5, name, known)
    return shards


def file_list(store: Path, state: StoreState) -> list[StoredFile]:
    """The files beside the shards that a finished `dataset.h5` names; DgaugError where anything points elsewhere.

    In a store of codes these are the codes, in order, and the decoder; in any other store there are none.
    """
    if not state.spec.virtual:
        return []
    with reading(store / DATASET_FILE) as hdf5:
        paths, hashes = (own(hdf5, f"file/{name}").asstr()[:].tolist() for name in ("path", "sha256"))
        sizes = own(hdf5, "file/size")[:].tolist()
        files = [StoredFile(*file) for file in zip(paths, sizes, hashes, strict=True)]
        for path in paths:
            if not FILE_NAME.fullmatch(path):
                raise DgaugError(f"expected codes and decoder inside {store}, found '{path}'; refused")
        for name in CODE_COLUMNS:
            _require_origin(hdf5, name, {file.path for file in files if file.holds_codes})
    return files


def listed_sizes(store: Path, state: StoreState) -> list[tuple[str, int]]:
    """Path and size of every file that a finished `dataset.h5` names."""
    shards = shard_list(store, state)
    sizes = list(zip(shards.path, shards.size.tolist(), strict=True))
    return [*sizes, *((file.path, file.size) for file in file_list(store, state))]


def _require_origin(hdf5: h5py.File, name: str, known: set[str]) -> None:
    for origin in linked(hdf5, name).virtual_sources():
        if origin.file_name not in known or origin.dset_name != name:
            raise DgaugError(f"expected {name} to lie in the store's own files, found '{origin.file_name}'; refused")


def file_size(path: Path) -> int | None:
    """The size of a file in bytes; None where there is no file."""
    return path.stat().st_size if path.is_file() else None


def write_header(hdf5: h5py.File, state: StoreState) -> None:
    """Write the root attributes and the sources."""
    state.spec.write(hdf5)
    hdf5.attrs.update({"schema": SCHEMA, "version": VERSION, "complete": state.complete, "count": state.count})
    state.sources.write(hdf5)


def _write_unfinished(store: Path, spec: StoreSpec, sources: Sources) -> StoreState:
    state = StoreState(spec, sources, complete=False, count=spec.planned)
    (store / SHARD_FOLDER).mkdir(parents=True, exist_ok=True)
    with written_aside(store / DATASET_FILE, sealed=True) as (hdf5, disk):
        write_header(hdf5, state)
        disk.check()
    return state
