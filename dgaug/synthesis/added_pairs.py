"""The parts of a store that is begun, resumed or added to, and the pair design of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgaug.errors import DgaugError
from dgaug.store.safe_hdf5 import reading
from dgaug.store.schema import shard_path
from dgaug.store.shard_reader import stored_donors
from dgaug.store.shard_writer import finished_shards
from dgaug.store.sources import Sources
from dgaug.store.spec import Part, StoreSpec, default_shard_size
from dgaug.synthesis.pairs import LISTED, Pairs, listed_pairs, parse_pairs


def parts_of(
    design: Pairs, existing: Sequence[Part], *, seed: int, shard_size: int | None, add: bool
) -> tuple[Part, ...]:
    """The parts of a store with this design: those that are there when they have it, and else a new one.

    A new one follows the others when it is to be added, and replaces them when not.
    """
    for part in existing:
        if (part.pairs, part.seed) == (design.text, seed) and shard_size in (None, part.shard_size):
            return tuple(existing)
    before = tuple(existing) if add else ()
    taken = sum(part.shard_count for part in before)
    size = shard_size or default_shard_size(design.count, taken=taken)
    return (*before, Part(pairs=design.text, planned=design.count, seed=seed, shard_size=size))


def designs_of(store: Path, spec: StoreSpec, sources: Sources, *, asked: Pairs, seed: int) -> tuple[Pairs, ...]:
    """The design of each part; `asked` is the one that the caller named.

    Raises:
        DgaugError: a part is a list of pairs, and the store does not have all of it.
    """
    return tuple(
        asked if (part.pairs, part.seed) == (asked.text, seed) else _design(store, spec, number, sources)
        for number, part in enumerate(spec.parts)
    )


def _design(store: Path, spec: StoreSpec, part: int, sources: Sources) -> Pairs:
    text = spec.parts[part].pairs
    if not text.startswith(LISTED):
        return parse_pairs(text).over(sources, seed=spec.parts[part].seed)
    numbers = [number for number in range(spec.shard_count) if spec.place(number).part == part]
    if not finished_shards(store).issuperset(numbers) or (spec.virtual and spec.min_confidence):
        raise DgaugError(
            f"expected all pairs of {text} in {store}, found only some: its list was given as a file; "
            "name it with --pairs csv:FILE, or choose another --out"
        )
    donors = []
    for number in numbers:
        with reading(shard_path(store, number)) as shard:
            donors.append(stored_donors(shard))
    return listed_pairs(*np.concatenate(donors, axis=1), text=text)
