"""Check what a store of codes has in place of pictures: the codes, and the decoder that draws from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from dgaug.errors import DgaugError
from dgaug.store.codes import crc32_of
from dgaug.store.drawing import PairDrawer
from dgaug.store.hdf5 import own, reading
from dgaug.store.index import StoredFile, StoreState
from dgaug.store.schema import CODE_COLUMNS, DATASET_FILE, GENERATOR_FILE

ROWS = 32


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
                    yield from ((file, what) for what in _content_problems(index, codes, state, first=first))
                    first += len(own(codes, "code/source"))
            except DgaugError as problem:
                whole = False
                yield file, str(problem)
    if files and whole:
        names = [file.path for file in files if file.holds_codes]
        try:
            PairDrawer(store, names, device=torch.device("cpu"), micro_batch=1)
        except DgaugError as problem:
            yield next(file for file in files if file.path == GENERATOR_FILE), str(problem)


def _content_problems(index: h5py.File, codes: h5py.File, state: StoreState, *, first: int) -> Iterator[str]:
    if codes.attrs["generator_sha256"] != state.spec.generator_sha256:
        yield "made by another generator"
    sources = own(codes, "code/source")[:]
    if not np.array_equal(own(index, "code/source")[first : first + len(sources)], sources):
        yield "codes of other sources than dataset.h5 says"
    if (np.diff(sources) <= 0).any() or (sources < 0).any() or (sources >= len(state.sources)).any():
        yield "codes of sources that are not there, or not in order"
    for name in CODE_COLUMNS:
        column, crc32 = own(codes, name), own(index, f"{name}_crc32")[first : first + len(sources)]
        for start in range(0, len(sources), ROWS):
            rows = column[start : start + ROWS]
            if not np.isfinite(rows).all() or (crc32_of(rows) != crc32[start : start + ROWS]).any():
                yield f"damaged {name} at or after row {start}"
                break
