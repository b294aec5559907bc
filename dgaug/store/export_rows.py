"""The rows of a finished store in pair order, a few hundred at a time: JPEG bytes as they are, labels by policy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.store.codecs import encode
from dgaug.store.labels import TopLabels, dense_labels, top_labels
from dgaug.store.policies import LABEL_FREE, POLICIES, policy_classes
from dgaug.store.read import StoreDataset, StoreItem
from dgaug.store.safe_hdf5 import own, reading
from dgaug.store.schema import DATASET_FILE, TOP
from dgaug.store.shard_reader import checked_jpegs, stored_donors
from dgaug.store.sources import settings_digest

BATCH = 256
QUALITY = 95
"""JPEG quality of images that a store keeps in another form."""
Rows = range | NDArray[np.int64]
"""Rows of a store, ascending and without a step."""
_WIDTH = {"appearance": 1, "structure": 1, "pseudo": 1, "two-soft": 2, "extra-class": 1}


@dataclass(frozen=True)
class RowBatch:
    """Some rows of a store.

    Attributes:
        store: where they come from.
        number: int64 [B], which rows, ascending.
        appearance, structure: int64 [B], rows of the sources.
        labels: what the policy makes of them, the most probable classes first.
        class_names: of the classes that the policy knows.
        stored: the JPEG files in the store; None where it keeps another form.
    """

    store: StoreDataset
    number: NDArray[np.int64]
    appearance: NDArray[np.int64]
    structure: NDArray[np.int64]
    labels: TopLabels
    class_names: list[str]
    stored: list[bytes] | None
    _drawn: dict[int, list[StoreItem]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.appearance)

    def jpeg(self, row: int) -> bytes:
        """An image as a JPEG file, byte by byte that of the store where it keeps one; DgaugError where damaged."""
        if self.stored is not None:
            return self.stored[row]
        # A store of codes draws as many at once; images that nobody asks for are not drawn.
        size = self.store.generated_at_once
        group, place = divmod(row, size)
        if group not in self._drawn:
            self._drawn.clear()
            self._drawn[group] = self.store.__getitems__(self.number[group * size : (group + 1) * size].tolist())
        return encode(self._drawn[group][place].image, codec="jpeg", quality=QUALITY)


def label_policy(store: StoreDataset, name: str | None) -> str:
    """A known policy that this store can serve; None: `soft`, or `appearance` where it has no labels.

    Raises:
        DgaugError: no such policy, or one that needs the labels which the store lacks.
    """
    unlabelled = store.spec.labels == "none"
    chosen = name or ("appearance" if unlabelled else "soft")
    if chosen not in POLICIES:
        raise DgaugError(f"unknown label policy {chosen!r}; known are {', '.join(POLICIES)}")
    if unlabelled and chosen not in LABEL_FREE:
        raise DgaugError(
            f"the labels {chosen!r} need a teacher's, the store {store.path} has none; use --labels "
            f"{' or '.join(LABEL_FREE)}, or synthesize with a teacher"
        )
    return chosen


def label_width(store: StoreDataset, policy: str) -> int:
    """How many classes of a label are written."""
    return min(_WIDTH.get(policy, TOP), len(store.sources.class_name))


def store_digest(store: StoreDataset) -> str:
    """Hex sha256 over the settings, sources and shards of a store."""
    settings = [settings_digest(store.spec, store.sources, part) for part in range(len(store.spec.parts))]
    return hashlib.sha256("\n".join([*settings, *store.shards.sha256]).encode()).hexdigest()


def row_batches(store: StoreDataset, policy: str, *, rows: Rows, images: bool) -> Iterator[RowBatch]:
    """Some rows in constant memory, one open shard at a time.

    Raises:
        DgaugError: a shard or an image is damaged.
    """
    copied = images and store.spec.codec == "jpeg"
    start, stop = int(rows[0]), int(rows[-1]) + 1
    for path, low, high in store.shards.spans(len(store)):
        first, last = max(start, low), min(stop, high)
        if first >= last:
            continue
        with reading(store.path / path) as shard, reading(store.path / DATASET_FILE) as index:
            for begin in range(first, last, BATCH):
                end = min(begin + BATCH, last)
                number = _between(rows, begin, end)
                if not len(number):
                    continue
                block, picked = slice(begin - low, end - low), number - begin
                donors = stored_donors(shard, block)
                labels = _labels(store, shard, block, donors, policy)
                stored = checked_jpegs(shard, block, own(index, "image/crc32")[begin:end]) if copied else None
                yield RowBatch(
                    store=store,
                    number=number,
                    appearance=donors[0][picked],
                    structure=donors[1][picked],
                    labels=TopLabels(labels.classes[picked], labels.probability[picked], labels.rest[picked]),
                    class_names=policy_classes(policy, store.sources.class_name),
                    stored=None if stored is None else [stored[place] for place in picked.tolist()],
                )


def _between(rows: Rows, start: int, stop: int) -> NDArray[np.int64]:
    """Those of the rows that lie in [start, stop)."""
    if isinstance(rows, range):
        return np.arange(max(start, rows.start), min(stop, rows.stop), dtype=np.int64)
    return rows[slice(*np.searchsorted(rows, [start, stop]))]


def row_labels(store: StoreDataset, policy: str, rows: NDArray[np.int64]) -> TopLabels:
    """What a policy makes of the labels of some rows, int64 [G] and ascending; DgaugError for a damaged shard."""
    parts = []
    for path, low, high in store.shards.spans(len(store)):
        here = rows[(rows >= low) & (rows < high)] - low
        if len(here):
            with reading(store.path / path) as shard:
                parts.append(_labels(store, shard, here, stored_donors(shard)[:, here], policy))
    return TopLabels(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _labels(
    store: StoreDataset,
    shard: h5py.File,
    rows: slice | NDArray[np.int64],
    donors: NDArray[np.int64],
    policy: str,
) -> TopLabels:
    kind, classes = store.spec.labels, len(store.sources.class_name)

    def column(name: str) -> NDArray[Any]:
        # HDF5 looks up single rows one by one.
        whole = own(shard, f"label/{name}")
        return np.asarray(whole[rows] if isinstance(rows, slice) else whole[:][rows])

    if kind == "top":
        stored = TopLabels(*map(column, ("class", "probability", "rest")))
        dense = None if policy == "soft" else dense_labels(stored, classes)
    elif kind == "dense":
        dense = column("dense").astype(np.float32)
        stored = top_labels(dense)
    else:
        dense = np.full((donors.shape[1], classes), 1 / classes, np.float32)
        stored = top_labels(dense)
    if policy == "soft" or dense is None:
        return stored
    appearance, structure = torch.from_numpy(store.sources.identity[donors].astype(np.int64))
    target = POLICIES[policy](torch.from_numpy(dense), appearance, structure)
    return top_labels(target.numpy(), label_width(store, policy))
