"""Generated pictures from a store, batch by batch and without end, as a function of the iteration.

Where the store holds codes the feed is an online one: the pictures of a batch are drawn on the training device when
the batch is asked for, and a teacher that the store was opened with labels them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.chance import draws
from dgaug.data.pixels import normalise
from dgaug.errors import DgaugError
from dgaug.store.policies import LABEL_FREE, POLICIES
from dgaug.store.read import StoreDataset
from dgaug.training.batches import LabelledPictures
from dgaug.training.reid_terms import Feed, GeneratedBatch
from dgaug.transfer import upload


@dataclass(frozen=True)
class Fitting:
    """What of a store may be used beside some training pictures.

    Attributes:
        rows: its pictures whose donors are both training pictures; None: all.
        classes: int64 [C], its class of each of the training identities; None: the same classes.
    """

    rows: NDArray[np.int64] | None = None
    classes: Tensor | None = None

    def label(self, label: Tensor) -> Tensor:
        """Soft labels [B, theirs] over the training identities [B, C], renormalised; evenly where none is left."""
        if self.classes is None:
            return label
        kept = label[:, upload(self.classes, label.device)] + 1e-9
        return kept / kept.sum(dim=1, keepdim=True)

    def identity(self, identity: Tensor) -> Tensor:
        """Classes [B] of donors as those of the training identities."""
        return identity if self.classes is None else torch.searchsorted(upload(self.classes, identity.device), identity)


@dataclass(frozen=True)
class StoreFeed:
    """Random pictures of a store, on its device, with their targets under a label policy.

    `confidence`: a picture counts as much as its most probable class is probable; otherwise all count 1. `stream`
    tells feeds of the same seed apart.
    """

    store: StoreDataset
    batch_size: int
    seed: int
    policy: str = "soft"
    fitting: Fitting = Fitting()
    confidence: bool = False
    stream: int = 0

    def __call__(self, iteration: int) -> GeneratedBatch:
        """The batch of an iteration; the same for the same seed, whatever came before."""
        rows = self.fitting.rows
        count = len(self.store) if rows is None else len(rows)
        drawn = draws("feed", self.seed, self.stream, iteration).integers(count, size=self.batch_size)
        batch = self.store.batch(drawn if rows is None else rows[drawn])
        donors = (batch.appearance_identity, batch.structure_identity)
        appearance, structure = (self.fitting.identity(one) for one in donors)
        known = batch.labels
        if known is None:  # the policy takes nothing from it but its shape
            classes = len(self.store.sources.class_name)
            known = torch.full((len(drawn), classes), 1 / classes, device=batch.pixels.device)
        label = self.fitting.label(known)
        targets = POLICIES[self.policy](label, appearance, structure)
        weights = label.amax(dim=1) if self.confidence else torch.ones_like(label[:, 0])
        return GeneratedBatch(normalise(batch.pixels), targets, structure, weights)


@dataclass(frozen=True)
class JointFeed:
    """The batches of several feeds, one after the other in one batch."""

    feeds: Sequence[Feed]

    def __call__(self, iteration: int) -> GeneratedBatch:
        """The batch of an iteration."""
        parts = [feed(iteration) for feed in self.feeds]
        device = parts[0].pictures.device
        columns = zip(*(vars(part.to(device)).values() for part in parts), strict=True)
        return GeneratedBatch(*(torch.cat(column) for column in columns))


def require_policy(name: str) -> None:
    """Refuse a label policy that does not exist.

    Raises:
        DgaugError: names those that do.
    """
    if name not in POLICIES:
        raise DgaugError(f"unknown label policy {name!r}; known are {', '.join(POLICIES)}")


def needs_teacher(policy: str, *, confidence: bool) -> bool:
    """Whether targets or weights are made of the teacher's soft label."""
    return confidence or policy not in LABEL_FREE


def fit(store: StoreDataset, pictures: LabelledPictures, *, labels: bool = True) -> Fitting:
    """What of a store these real pictures can be trained beside: all of it, or the pairs between them.

    Raises:
        DgaugError: a store of other pictures or another picture size, without pairs, or without `labels` it needs.
    """
    if store.spec.image_size != pictures.image_size:
        theirs, ours = ("x".join(map(str, size)) for size in (store.spec.image_size, pictures.image_size))
        raise DgaugError(f"the store {store.path} holds pictures of {theirs}, the settings say {ours}; use its run")
    sources = store.sources
    used = _used_sources(store, pictures)
    if labels and not store.has_labels:
        raise DgaugError(f"the store {store.path} has no labels; synthesize one with a teacher, or give --teacher FILE")
    rows = None if used.all() else store.rows_between(used)
    if len(store) == 0 or (rows is not None and len(rows) == 0):
        raise DgaugError(
            f"the store {store.path} has no pictures made of these {len(pictures.paths)} training pictures; synthesize "
            "more --pairs"
        )
    same = sources.class_name == pictures.class_names
    classes = None if same else torch.tensor([sources.class_name.index(name) for name in pictures.class_names])
    return Fitting(rows, classes)


def _used_sources(store: StoreDataset, pictures: LabelledPictures) -> NDArray[np.bool_]:
    """Which sources [N] of a store are these training pictures: all of them must be there, under the same identity."""
    sources = store.sources
    row = {path: place for place, path in enumerate(sources.path)}
    identity = [pictures.class_names[label] for label in pictures.labels.tolist()]
    theirs = [sources.class_name[sources.identity[row[name]]] if name in row else None for name in pictures.names]
    strangers = [name for name, ours, found in zip(pictures.names, identity, theirs, strict=True) if ours != found]
    if strangers:
        raise DgaugError(
            f"the store {store.path} was made from other pictures, {len(sources)} of {len(sources.class_name)} "
            f"identities: {len(strangers)} of these {len(pictures.names)} of {len(pictures.class_names)} are not among "
            f"them, the first {strangers[0]}; synthesize one from these data, or give those it was made from"
        )
    used = np.zeros(len(sources), np.bool_)
    used[[row[name] for name in pictures.names]] = True
    return used
