"""The arms of a study: what is trained beside what, on the same real images and for as many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgaug.data.toy import ToyWorld
from dgaug.errors import DgaugError
from dgaug.settings import FeedSettings
from dgaug.store.read import StoreDataset
from dgaug.studies.feeds import TRUST, Labelling, Source, StandIn, scheduled_count, seeded_feed
from dgaug.studies.selection import BOTH, DIVERSITY, JUDGE, KEEP
from dgaug.studies.study import Variant, generated_per_step
from dgaug.training.batches import LabelledImages

REAL, AUGMENTED, GENERATED, COPIED, TRUE = "real", "augmented", "generated", "copied", "true"
APPEARANCE = "appearance"
"""The label policy of mixed identities."""


@dataclass(frozen=True)
class Arm:
    """One kind of model of a study.

    Attributes:
        text: what it is trained on, for tables.
        fed: whether it sees the pairs of the store.
        changes: of the settings `reid`.
        stand_in: makes the images that are shown in place of the generated ones; None: the generated ones.
        keep: share of the generated images that a judge leaves, the real-only model of the same point; None: no judge.
        by: what they are chosen by, see `dgaug.studies.selection.Selection`.
        tests: the arm whose models are tested in place of training some, with features averaged over `structures`
            structures; None: it trains its own.
    """

    text: str
    fed: bool = False
    changes: Mapping[str, object] = field(default_factory=dict)
    stand_in: Callable[[StoreDataset, LabelledImages, Path], StandIn] | None = None
    keep: float | None = None
    by: str = JUDGE
    tests: str | None = None
    structures: int = 0

    @property
    def needs_codes(self) -> bool:
        """Whether it is fed from a store of codes."""
        return bool(self.changes.get("identity_mixup"))

    def labelling(self, reid: FeedSettings) -> Labelling:
        """How its generated images get their targets."""
        policy = str(self.changes.get("labels", reid.labels))
        mixup = float(str(self.changes.get("identity_mixup", 0.0)))
        return Labelling(policy, reid.weighting == "confidence", None, None, mixup)


def structure_donors(store: StoreDataset, images: LabelledImages, root: Path) -> StandIn:
    """What a generator would make that copies the structure donor."""
    structure = store.pairs()[:, 1]
    row = {name: place for place, name in enumerate(images.names)}

    def of(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([images.resized[row[store.sources.path[source]]] for source in structure[rows]])

    return of


def true_images(store: StoreDataset, images: LabelledImages, root: Path) -> StandIn:
    """What a perfect generator would make; embedded data only."""
    world, pairs = ToyWorld.open(root), store.pairs()
    kept: dict[int, NDArray[np.uint8]] = {}

    def of(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        for row in rows.tolist():
            if row not in kept:
                appearance, structure = (store.sources.path[source] for source in pairs[row])
                kept[row] = world.true_image(appearance, structure, images.image_size)
        return np.stack([kept[row] for row in rows.tolist()])

    return of


CHEAP: dict[str, object] = {"jitter": 0.2, "local_grey": 0.4}
"""What a generator must beat: it costs nothing."""
ARMS = {
    REAL: Arm("real only"),
    AUGMENTED: Arm("real, cheap augmentation", changes=CHEAP),
    GENERATED: Arm("real + generated", fed=True),
    COPIED: Arm("real + copies (structure donors)", fed=True, stand_in=structure_donors),
    TRUE: Arm("real + true images", fed=True, stand_in=true_images),
    "generated-augmented": Arm("real + generated, cheap augmentation", fed=True, changes=CHEAP),
    "two-stage": Arm("real + generated, then real only", fed=True, changes={"stop_generated": 0.7}),
    "falling-ratio": Arm("real + generated, fewer and fewer", fed=True, changes={"ratio_end": 0.0}),
    "falling-weight": Arm("real + generated, weaker and weaker", fed=True, changes={"teacher_end": 0.0}),
    "selected": Arm("real + generated, chosen by a judge", fed=True, keep=KEEP),
    "diverse": Arm("real + generated, chosen by diversity", fed=True, keep=KEEP, by=DIVERSITY),
    "selected-diverse": Arm("real + generated, chosen by a judge and by diversity", fed=True, keep=KEEP, by=BOTH),
    "trusted": Arm("real + generated, labels by trust", fed=True, changes={"labels": TRUST}, keep=1.0),
    "mixup": Arm("real + generated, identities mixed", fed=True, changes={"identity_mixup": 1.0, "labels": APPEARANCE}),
    "structures": Arm("real + generated, tested on 4 structures", fed=True, tests=GENERATED, structures=4),
}
USUAL = (REAL, AUGMENTED, GENERATED, COPIED, TRUE)
"""Those of a study unless others are named; `TRUE` where the data are embedded ones."""


def require_arms(names: Sequence[str], *, embedded: bool) -> None:
    """Refuse arms that a study cannot have.

    Raises:
        DgaugError: an unknown arm, none of real images only, one without the arm whose models it tests, or true images
            of data that have none.
    """
    unknown = [name for name in names if name not in ARMS]
    if unknown:
        raise DgaugError(f"unknown arm {unknown[0]!r} in --arms; known are {', '.join(ARMS)}")
    if REAL not in names or len(names) < 2:
        raise DgaugError(f"--arms {','.join(names)}: what images are worth is read off the arm {REAL!r}; add it")
    for name in names:
        if (tested := ARMS[name].tests) is not None and tested not in names:
            raise DgaugError(f"--arms {','.join(names)}: the arm {name!r} tests the models of {tested!r}; add it")
    if TRUE in names and not embedded:
        raise DgaugError(f"the arm {TRUE!r} needs the embedded data, whose every pair has a true image; remove it")


def variant(name: str, model: str, reid: FeedSettings, source: Source | None, *, title: str = "") -> Variant:
    """An arm as a model to train, each with as many images in a step; `source` None: of an arm that is not fed."""
    arm, generated = ARMS[name], generated_per_step(reid)
    settings = reid.model_copy(update=dict(arm.changes))
    if source is None:
        real = settings.model_copy(update={"batch_size": reid.batch_size + generated})
        return Variant(title or name, model, real)
    return Variant(
        title or name, model, settings, seeded_feed([source], arm.labelling(reid), scheduled_count(settings))
    )


def source_of(name: str, source: Source, images: LabelledImages, root: Path) -> Source:
    """A store as an arm sees it."""
    stand_in = ARMS[name].stand_in
    return source if stand_in is None else replace(source, stand_in=stand_in(source.store, images, root))
