"""Which generated images go beside the real ones: a number for each identity, chosen in one pass over the shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.seeding import draws
from dgaug.store.read import StoreDataset
from dgaug.store.safe_hdf5 import own, reading
from dgaug.store.shard_reader import stored_donors

HARD = ("appearance", "structure", "pseudo")
"""Label policies that name one identity."""
SELECT = ("random", "confidence")


@dataclass(frozen=True)
class Selection:
    """The chosen images, in pair order.

    Attributes:
        rows: int64 [G], rows of the store.
        appearance, structure: int64 [G], rows of the sources.
        identity: int64 [G], the class that each image's label names.
    """

    rows: NDArray[np.int64]
    appearance: NDArray[np.int64]
    structure: NDArray[np.int64]
    identity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def select_images(
    store: StoreDataset,
    *,
    labels: str,
    most: NDArray[np.int64],
    select: str = "random",
    min_confidence: float = 0.0,
    seed: int = 0,
    rows: NDArray[np.int64] | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> Selection:
    """At most `most[c]` images for each class c, in memory that depends on these numbers and one shard alone.

    Args:
        store: where the images are.
        labels: `appearance`, `structure` or `pseudo`: whose identity an image has.
        most: int64 [C].
        select: `random`, or `confidence`: the images of the highest class probability first.
        min_confidence: images whose highest class probability is lower are not chosen.
        seed: of `random`.
        rows: ascending, the only ones that are looked at; None: all.
        done: told how many rows were looked at.

    Raises:
        DgaugError: unknown `select`, labels are needed that the store lacks, or a shard is damaged.
    """
    if select not in SELECT:
        raise DgaugError(f"expected --select to be {', '.join(SELECT)} or judge:FILE,keep=0.5, found {select!r}")
    if not 0 <= min_confidence <= 1:
        raise DgaugError(f"expected a --min-confidence from 0 to 1, found {min_confidence}")
    need = labels == "pseudo" or select == "confidence" or min_confidence > 0
    if need and store.spec.labels == "none":
        raise DgaugError(
            "--labels pseudo, --select confidence and --min-confidence need a teacher's labels, the store "
            f"{store.path} has none; remove them, or synthesize with a teacher"
        )
    kept = np.zeros(0, _CHOSEN)
    for path, start, stop in store.shards.spans(len(store)):
        with reading(store.path / path) as shard:
            here = _rows(store, shard, start, labels=labels, need=need)
        here["key"] = -here["confidence"] if select == "confidence" else draws("select", seed, start).random(len(here))
        if rows is not None:
            here = here[rows[slice(*np.searchsorted(rows, [start, stop]))] - start]
        here = here[here["confidence"] >= min_confidence]
        kept = _first_of_each(np.concatenate([kept, here]), most)
        done(stop)
    kept = kept[np.argsort(kept["row"])]
    return Selection(kept["row"], kept["appearance"], kept["structure"], kept["identity"])


_CHOSEN = np.dtype(
    [
        ("row", np.int64),
        ("appearance", np.int64),
        ("structure", np.int64),
        ("identity", np.int64),
        ("confidence", np.float64),
        ("key", np.float64),
    ]
)


def _rows(store: StoreDataset, shard: h5py.File, start: int, *, labels: str, need: bool) -> NDArray[np.void]:
    """All rows of a shard with the class that their label names; confidence 1 where nothing asks for it."""
    donors = stored_donors(shard)
    if donors.size and not 0 <= donors.min() <= donors.max() < len(store.sources):
        raise ValueError(f"pairs of others than its {len(store.sources)} sources")
    rows = np.zeros(donors.shape[1], _CHOSEN)
    rows["row"] = start + np.arange(len(rows))
    rows["appearance"], rows["structure"] = donors
    rows["confidence"] = 1.0
    if need:
        if store.spec.labels == "dense":
            dense = own(shard, "label/dense")[:]
            best, share = dense.argmax(axis=1), dense.max(axis=1)
        else:
            best, share = own(shard, "label/class")[:, 0], own(shard, "label/probability")[:, 0]
        rows["confidence"] = share
    if labels == "pseudo":
        rows["identity"] = best
        if (rows["identity"] >= len(store.sources.class_name)).any():
            raise ValueError("labels of others than its classes")
    else:
        rows["identity"] = store.sources.identity[rows[labels]]
    return rows


def _first_of_each(rows: NDArray[np.void], most: NDArray[np.int64]) -> NDArray[np.void]:
    """The rows of each identity with the lowest keys, at most `most` of it; of equal keys the earlier row."""
    rows = rows[np.lexsort((rows["row"], rows["key"], rows["identity"]))]
    identity = rows["identity"]
    place = np.arange(len(rows)) - np.searchsorted(identity, identity)
    return np.asarray(rows[place < most[identity]])
