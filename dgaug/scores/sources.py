"""Where the generated pictures of a study come from: a store, or codes that the run's generator draws from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.progress import Progress
from dgaug.runs import Run
from dgaug.store.read import StoreDataset, open_store
from dgaug.synthesis.job import synthesize
from dgaug.training.batches import LabelledPictures
from dgaug.training.feed import Fitting, JointFeed, StoreFeed, fit, needs_teacher
from dgaug.training.reid_terms import Feed

FEEDS = ("none", "stored", "online", "both")
CODES = "codes"
"""The store that an online feed draws from, in the folder of the study."""

_log = logging.getLogger("dgaug")


@dataclass(frozen=True)
class Labelling:
    """How generated pictures get their targets.

    Attributes:
        policy: of `dgaug.store.policies`.
        confidence: whether a picture counts as much as its most probable class is probable.
        teacher: a re-id checkpoint that labels in place of what is stored.
        fallback: the one that labels where nothing is stored.
    """

    policy: str
    confidence: bool
    teacher: Path | None
    fallback: Path | None

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher's soft label is used at all."""
        return needs_teacher(self.policy, confidence=self.confidence)


@dataclass(frozen=True)
class Source:
    """A store that fits the training pictures; `teacher` labels what it gives."""

    store: StoreDataset
    fitting: Fitting
    teacher: Path | None

    def described(self) -> dict[str, str | None]:
        """What tells it from another."""
        teacher = None if self.teacher is None else file_sha256(self.teacher)
        return {"store": file_sha256(self.store.path / "dataset.h5"), "teacher": teacher}


def open_source(path: Path, pictures: LabelledPictures, labelling: Labelling) -> Source:
    """A finished store, checked against the training pictures.

    Raises:
        DgaugError: it does not fit them, or has not the labels that are needed.
    """
    store, teacher = open_store(path), None
    if labelling.needs_teacher:
        teacher = labelling.teacher or (None if store.has_labels else labelling.fallback)
    fitting = fit(store, pictures, labels=labelling.needs_teacher and teacher is None)
    if teacher is not None:
        store = open_store(path, teacher=teacher)
    if len(store.sources) > len(pictures.paths):
        _log.info(
            "%s: its generator and teacher may have seen %d pictures, these models see %d and what was made of them; "
            "for an account that holds, train a run on those alone (dgaug ablate does)",
            store.path,
            len(store.sources),
            len(pictures.paths),
        )
    return Source(store, fitting, teacher)


def open_sources(
    feed: str,
    run: Run | None,
    store: Path | None,
    *,
    pictures: LabelledPictures,
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
                f"--feed online draws from a store of codes, {store} holds pictures; use --feed stored, or synthesize "
                "--codec codes"
            )
        paths.append(store)
    elif feed in ("online", "both"):
        codes = folder / CODES
        synthesize(_generator_of(run).folder, codec="codes", teacher="none", out=codes, progress=progress)
        paths.append(codes)
    return [open_source(path, pictures, labelling) for path in paths]


def _generator_of(run: Run | None) -> Run:
    if run is None:
        raise DgaugError("--data needs --store: a store made from its training pictures (or --feed none)")
    return run


def seeded_feed(sources: Sequence[Source], labelling: Labelling, count: int) -> Callable[[int], Feed] | None:
    """From a seed to its feed, each source giving its share of the `count` pictures of a step; None without sources."""
    if not sources:
        return None
    shares = [len(range(place, count, len(sources))) for place in range(len(sources))]

    def of(seed: int) -> Feed:
        feeds = [
            StoreFeed(
                source.store,
                share,
                seed,
                policy=labelling.policy,
                fitting=source.fitting,
                confidence=labelling.confidence,
                stream=stream,
            )
            for stream, (source, share) in enumerate(zip(sources, shares, strict=True))
        ]
        return feeds[0] if len(feeds) == 1 else JointFeed(feeds)

    return of
