"""Generated images from a store, batch by batch and without end, as a function of the iteration.

Where the store holds codes the feed is an online one: the images of a batch are decoded on the training device when
the batch is asked for, and a teacher that the store was opened with labels them there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.normalisation import normalise
from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.progress import Progress
from dgaug.runs import Run
from dgaug.seeding import draws
from dgaug.settings import FeedSettings
from dgaug.store.policies import LABEL_FREE, POLICIES, by_appearance
from dgaug.store.read import StoreBatch, StoreDataset, open_store
from dgaug.store.virtual import Mixed
from dgaug.synthesis.job import synthesize
from dgaug.training.batches import LabelledImages
from dgaug.training.reid_losses import Feed, GeneratedBatch, generated_at
from dgaug.transfer import upload

FEEDS = ("none", "stored", "online", "both")
TRUST = "trust"
"""The label policy that needs a judge: the appearance donor's identity where it agrees, elsewhere the soft label."""
CODES = "codes"
"""The store that an online feed draws from, in the folder of the study."""
_log = logging.getLogger("dgaug")
StandIn = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""From rows of a store [B] to the images [B, H, W, 3] that are shown in their place."""


@dataclass(frozen=True)
class Fitting:
    """What of a store may be used beside some training images.

    Attributes:
        rows: its images whose donors are both training images; None: all.
        classes: int64 [C], its class of each of the training identities; None: the same classes.
    """

    rows: NDArray[np.int64] | None = None
    classes: Tensor | None = None

    def label(self, batch: StoreBatch, theirs: int) -> Tensor:
        """Soft labels of a batch over the training identities [B, C], renormalised; evenly where none is left.

        Even over all classes of the store (`theirs` many) where it has no labels: a policy that needs none takes
        nothing from them but their shape.
        """
        label = batch.labels
        if label is None:
            label = torch.full((len(batch.pixels), theirs), 1 / theirs, device=batch.pixels.device)
        if self.classes is None:
            return label
        kept = label[:, upload(self.classes, label.device)] + 1e-9
        return kept / kept.sum(dim=1, keepdim=True)

    def identity(self, identity: Tensor) -> Tensor:
        """Classes [B] of donors as those of the training identities."""
        return identity if self.classes is None else torch.searchsorted(upload(self.classes, identity.device), identity)


@dataclass(frozen=True)
class StoreFeed:
    """Random images of a store, on its device, with their targets under a label policy.

    `confidence`: an image counts as much as its most probable class is probable; otherwise all count 1. `stream`
    tells feeds of the same seed apart. `stand_in`: other images under the targets of the stored ones. `trusted`: by row
    of the store, whether a judge agrees with the appearance donor's identity; for the policy `trust`. `mixup`: see the
    setting `reid.identity_mixup`.
    """

    store: StoreDataset
    batch_size: int
    seed: int
    policy: str = "soft"
    fitting: Fitting = Fitting()
    confidence: bool = False
    stream: int = 0
    stand_in: StandIn | None = None
    trusted: NDArray[np.bool_] | None = None
    mixup: float = 0.0

    def __call__(self, iteration: int) -> GeneratedBatch:
        """The batch of an iteration; the same for the same seed, whatever came before."""
        chosen = self._choose("feed", iteration)
        mixed = self._mixed(iteration) if self.mixup else None
        batch = self.store.batch(chosen, mixed=mixed)
        pixels = batch.pixels if self.stand_in is None else upload(self.stand_in(chosen), batch.pixels.device)
        donors = (batch.appearance_identity, batch.structure_identity)
        appearance, structure = (self.fitting.identity(one) for one in donors)
        label = self.fitting.label(batch, len(self.store.sources.class_name))
        targets = self._targets(chosen, label, appearance, structure)
        if mixed is not None:
            theirs = self.store.sources.identity[mixed.appearance].astype(np.int64)
            other = self._targets(chosen, label, self.fitting.identity(upload(theirs, pixels.device)), structure)
            share = upload(mixed.share, pixels.device)[:, None]
            targets = share * targets + (1 - share) * other
        weights = label.amax(dim=1) if self.confidence else torch.ones_like(label[:, 0])
        return GeneratedBatch(normalise(pixels), targets, structure, weights)

    def _choose(self, purpose: str, iteration: int) -> NDArray[np.int64]:
        """Random rows of the store."""
        rows = self.fitting.rows
        count = len(self.store) if rows is None else len(rows)
        drawn = draws(purpose, self.seed, self.stream, iteration).integers(count, size=self.batch_size)
        return drawn if rows is None else rows[drawn]

    def _mixed(self, iteration: int) -> Mixed:
        appearance = self.store.appearances(self._choose("feed: mixed in", iteration))
        share = draws("feed: shares", self.seed, self.stream, iteration).beta(
            self.mixup, self.mixup, size=self.batch_size
        )
        return Mixed(appearance, share.astype(np.float32))

    def _targets(self, rows: NDArray[np.int64], label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
        if self.policy != TRUST:
            return POLICIES[self.policy](label, appearance, structure)
        assert self.trusted is not None
        trusted = upload(self.trusted[rows], label.device)[:, None]
        return torch.where(trusted, by_appearance(label, appearance, structure), label)


@dataclass(frozen=True)
class JointFeed:
    """The batches of several feeds, one after the other in one batch."""

    feeds: Sequence[Feed]

    def __call__(self, iteration: int) -> GeneratedBatch:
        """The batch of an iteration."""
        parts = [feed(iteration) for feed in self.feeds]
        device = parts[0].images.device
        columns = zip(*(vars(part.to(device)).values() for part in parts), strict=True)
        return GeneratedBatch(*(torch.cat(column) for column in columns))


def require_policy(name: str) -> None:
    """Refuse a label policy that does not exist.

    Raises:
        DgaugError: names those that do.
    """
    if name not in (*POLICIES, TRUST):
        raise DgaugError(f"unknown label policy {name!r}; known are {', '.join((*POLICIES, TRUST))}")


def require_mixup(reid: FeedSettings, stores: Sequence[StoreDataset]) -> None:
    """Refuse identity mixup where there are no codes to mix or another label than the appearance donor's.

    Raises:
        DgaugError: says what it needs.
    """
    if not reid.identity_mixup:
        return
    if reid.labels != "appearance":
        raise DgaugError(
            f"reid.identity_mixup mixes the labels of two appearances; use --labels appearance, not {reid.labels}"
        )
    for store in stores:
        if not store.spec.virtual:
            raise DgaugError(
                f"reid.identity_mixup mixes codes, {store.path} holds images; use --feed online, or a store "
                "of --codec codes"
            )


def needs_teacher(policy: str, *, confidence: bool) -> bool:
    """Whether targets or weights are made of the teacher's soft label."""
    return confidence or policy not in LABEL_FREE


def fit(store: StoreDataset, images: LabelledImages, *, labels: bool = True) -> Fitting:
    """What of a store these real images can be trained beside: all of it, or the pairs between them.

    Raises:
        DgaugError: a store of other images or another image size, without pairs, or without `labels` it needs.
    """
    if store.spec.image_size != images.image_size:
        theirs, ours = ("x".join(map(str, size)) for size in (store.spec.image_size, images.image_size))
        raise DgaugError(f"the store {store.path} holds images of {theirs}, the settings say {ours}; use its run")
    sources = store.sources
    used = _used_sources(store, images)
    if labels and not store.has_labels:
        raise DgaugError(f"the store {store.path} has no labels; synthesize one with a teacher, or give --teacher FILE")
    rows = None if used.all() else store.rows_between(used)
    if len(store) == 0 or (rows is not None and len(rows) == 0):
        raise DgaugError(
            f"the store {store.path} has no images made of these {len(images.paths)} training images; synthesize "
            "more --pairs"
        )
    same = sources.class_name == images.class_names
    classes = None if same else torch.tensor([sources.class_name.index(name) for name in images.class_names])
    return Fitting(rows, classes)


@dataclass(frozen=True)
class Labelling:
    """How generated images get their targets.

    Attributes:
        policy: of `dgaug.store.policies`.
        confidence: whether an image counts as much as its most probable class is probable.
        teacher: a re-id checkpoint that labels in place of what is stored.
        fallback: the one that labels where nothing is stored.
        mixup: see the setting `reid.identity_mixup`.
    """

    policy: str
    confidence: bool
    teacher: Path | None
    fallback: Path | None
    mixup: float = 0.0

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher's soft label is used at all."""
        return needs_teacher(self.policy, confidence=self.confidence)


@dataclass(frozen=True)
class Source:
    """A store that fits the training images; `teacher` labels it, `stand_in` and `trusted` are those of `StoreFeed`."""

    store: StoreDataset
    fitting: Fitting
    teacher: Path | None
    stand_in: StandIn | None = None
    trusted: NDArray[np.bool_] | None = None

    def described(self) -> dict[str, str | None]:
        """What tells it from another."""
        teacher = None if self.teacher is None else file_sha256(self.teacher)
        return {"store": file_sha256(self.store.path / "dataset.h5"), "teacher": teacher}


def open_source(path: Path, images: LabelledImages, labelling: Labelling) -> Source:
    """A finished store, checked against the training images.

    Raises:
        DgaugError: it does not fit them, or has not the labels that are needed.
    """
    store, teacher = open_store(path), None
    if labelling.needs_teacher:
        teacher = labelling.teacher or (None if store.has_labels else labelling.fallback)
    fitting = fit(store, images, labels=labelling.needs_teacher and teacher is None)
    if teacher is not None:
        store = open_store(path, teacher=teacher)
    if len(store.sources) > len(images.paths):
        _log.info(
            "%s: its generator and teacher may have seen %d images, these models see %d and what was made of them; "
            "for an account that holds, train a run on those alone (dgaug ablate does)",
            store.path,
            len(store.sources),
            len(images.paths),
        )
    return Source(store, fitting, teacher)


def open_sources(
    feed: str,
    run: Run | None,
    store: Path | None,
    *,
    images: LabelledImages,
    labelling: Labelling,
    folder: Path,
    progress: Progress,
) -> list[Source]:
    """The stores of a feed: the given one or the run's, and codes, made in `folder` where none are given.

    Raises:
        DgaugError: there is none, or it does not fit.
    """
    paths = []
    if feed in ("stored", "both"):
        paths.append(store or _generator_of(run).store)
    if feed == "online" and store is not None:
        if not open_store(store).spec.virtual:
            raise DgaugError(
                f"--feed online draws from a store of codes, {store} holds images; use --feed stored, or synthesize "
                "--codec codes"
            )
        paths.append(store)
    elif feed in ("online", "both"):
        codes = folder / CODES
        synthesize(_generator_of(run).folder, codec="codes", teacher="none", out=codes, progress=progress)
        paths.append(codes)
    return [open_source(path, images, labelling) for path in paths]


def _generator_of(run: Run | None) -> Run:
    if run is None:
        raise DgaugError("--data needs --store: a store made from its training images (or --feed none)")
    return run


def seeded_feed(
    sources: Sequence[Source], labelling: Labelling, count: int | Callable[[int], int]
) -> Callable[[int], Feed] | None:
    """From a seed to its feed, each source giving its share of the images of a step; None without sources.

    `count`: images of a step, or from an iteration to them.
    """
    if not sources:
        return None

    def of_size(seed: int, size: int) -> Feed:
        shares = [len(range(place, size, len(sources))) for place in range(len(sources))]
        feeds = [
            StoreFeed(
                source.store,
                share,
                seed,
                policy=labelling.policy,
                fitting=source.fitting,
                confidence=labelling.confidence,
                stream=stream,
                stand_in=source.stand_in,
                trusted=source.trusted,
                mixup=labelling.mixup,
            )
            for stream, (source, share) in enumerate(zip(sources, shares, strict=True))
        ]
        return feeds[0] if len(feeds) == 1 else JointFeed(feeds)

    if isinstance(count, int):
        return lambda seed: of_size(seed, count)
    return lambda seed: lambda iteration: of_size(seed, count(iteration))(iteration)


def scheduled_count(reid: FeedSettings) -> int | Callable[[int], int]:
    """Generated images of a step, as `seeded_feed` takes them."""
    return generated_at(reid, 0) if reid.ratio_end is None else lambda iteration: generated_at(reid, iteration)


def _used_sources(store: StoreDataset, images: LabelledImages) -> NDArray[np.bool_]:
    """Which sources [N] of a store are these training images: all of them must be there, under the same identity."""
    sources = store.sources
    row = {path: place for place, path in enumerate(sources.path)}
    identity = [images.class_names[label] for label in images.labels.tolist()]
    theirs = [sources.class_name[sources.identity[row[name]]] if name in row else None for name in images.names]
    strangers = [
        name for name, ours, class_index in zip(images.names, identity, theirs, strict=True) if ours != class_index
    ]
    if strangers:
        raise DgaugError(
            f"the store {store.path} was made from other images, {len(sources)} of {len(sources.class_name)} "
            f"identities: {len(strangers)} of these {len(images.names)} of {len(images.class_names)} are not among "
            f"them, the first {strangers[0]}; synthesize one from these data, or give those it was made from"
        )
    used = np.zeros(len(sources), np.bool_)
    used[[row[name] for name in images.names]] = True
    return used
