"""The points of a learning curve: a share of the training images, and the people held out to choose training lengths.

A point is a function of the fraction and of the repeat, whose number moves the seeds of subset, generator and model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dgaug.data.prepare import limited
from dgaug.data.records import IdentityData, Record, Role, class_names
from dgaug.errors import DgaugError
from dgaug.scores.retrieval.fine_weight import validation_split
from dgaug.scores.retrieval.held_out import GALLERY, QUERY, TRAIN, require_evaluation
from dgaug.seeding import draws
from dgaug.settings import Settings

AXES = {"images": "images_fraction", "identities": "identities_fraction", "per-identity": "per_identity_fraction"}
"""By axis, the setting of `data` that its fractions become."""
SEEDED_LIMITS = (*AXES.values(), "images_per_identity")
"""Settings of `data` whose choice `subset_seed` makes, another one in each repeat."""
FRACTIONS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
HELD_OUT = 0.25
"""Share of a point's identities on which training lengths are chosen; the models that are compared see them too."""
FEWEST_IDENTITIES = 4
"""Two to train on and two to rank, while a training length is chosen."""


@dataclass(frozen=True)
class Point:
    """One fraction in one repeat.

    Attributes:
        settings: with the seed and the limits of the point.
        data: its training images; query and gallery are those of the whole data set.
        folder: of its generator and models.
    """

    fraction: float
    repeat: int
    settings: Settings
    data: IdentityData
    folder: Path

    @property
    def title(self) -> str:
        """Its name in logs."""
        return f"fraction {self.fraction:g}, repeat {self.repeat}"

    @property
    def limits(self) -> list[str]:
        """What makes `train` see the same images, as `section.name=value` texts."""
        data = self.settings.data
        names = (*AXES.values(), "subset_seed")
        values = {name: getattr(data, name) for name in names}
        return [f"data.{name}={value}" for name, value in values.items() if value is not None]


def fractions_of(given: str | Sequence[float]) -> list[float]:
    """Fractions from a text such as `0.1,0.5,1`, ascending.

    Raises:
        DgaugError: no numbers, not above 0 and up to 1, or fewer than two different ones.
    """
    texts = [text.strip() for text in given.split(",")] if isinstance(given, str) else list(given)
    try:
        fractions = sorted({float(text) for text in texts})
    except ValueError:
        fractions = [0.0]
    if not all(0 < fraction <= 1 for fraction in fractions):
        shown = given if isinstance(given, str) else ",".join(map(str, given))
        raise DgaugError(f"--fractions {shown}: expected numbers above 0 and up to 1, such as 0.1,0.5,1")
    if len(fractions) < 2:
        raise DgaugError(f"--fractions {fractions[0]:g}: a curve needs at least two different fractions")
    return fractions


def require_fractions(fractions: Sequence[float], axis: str, settings: Settings, counts: Sequence[int]) -> None:
    """Refuse fractions that leave too little; `counts` are the images of each training identity.

    Raises:
        DgaugError: an unknown axis, one that a setting is in the way of, a fraction that leaves an identity without an
            image or one identity in all.
    """
    if axis not in AXES:
        raise DgaugError(f"unknown axis {axis!r}; known are {', '.join(AXES)}")
    if getattr(settings.data, AXES[axis]) is not None:
        raise DgaugError(f"data.{AXES[axis]} is what --fractions sets on the axis {axis}; remove the setting")
    smallest, images, fewest = fractions[0], sum(counts), min(counts)
    if len(counts) < 2:
        raise DgaugError(
            "the data and its limits (--set data.identities_fraction=...) leave one training identity, two are needed"
        )
    if axis == "identities" and round(smallest * len(counts)) < 2:
        raise DgaugError(
            f"--fractions {smallest:g} leaves {round(smallest * len(counts))} of {len(counts)} training identities, "
            f"two are needed; the smallest fraction is {_smallest(len(counts), 2)}"
        )
    if axis == "per-identity" and round(smallest * fewest) < 1:
        raise DgaugError(
            f"--fractions {smallest:g} leaves an identity of {fewest:,} in all without an image; the smallest fraction "
            f"is {_smallest(fewest, 1)}, or use --axis images"
        )
    if axis == "images" and round(smallest * images) < len(counts):
        raise DgaugError(
            f"--fractions {smallest:g} of {images:,} training images is {round(smallest * images):,}, which leaves "
            f"some of the {len(counts):,} identities without an image; the smallest fraction is "
            f"{_smallest(images, len(counts))}, or use --axis identities"
        )


def _smallest(count: int, needed: int) -> str:
    """The smallest fraction in thousandths that leaves so many."""
    return f"{next(share for share in range(1, 1001) if round(share / 1000 * count) >= needed) / 1000:g}"


def image_counts(data: IdentityData) -> list[int]:
    """Training images of each identity."""
    return list(Counter(record.identity for record in data.splits[TRAIN]).values())


def point(data: IdentityData, settings: Settings, axis: str, fraction: float, repeat: int, folder: Path) -> Point:
    """The point of a fraction in a repeat; `data` has no seeded limit, and no damaged images."""
    limits = {AXES[axis]: fraction, "subset_seed": settings.data.subset_seed + repeat}
    own = settings.model_copy(
        update={"seed": settings.seed + repeat, "data": settings.data.model_copy(update=limits)}, deep=True
    )
    # From what was listed, as `train` does, so that damaged images do not move the choice.
    listed = replace(data, splits={**data.splits, TRAIN: data.listed[TRAIN]})
    usable = {record.path: record for record in data.splits[TRAIN]}
    train = [usable[record.path] for record in limited(listed, own.data).splits[TRAIN] if record.path in usable]
    part = replace(data, splits={**data.splits, TRAIN: train})
    return Point(fraction, repeat, own, part, folder / f"{fraction:g}" / f"repeat{repeat}")


def split_to_choose(one: Point, everything: IdentityData) -> IdentityData:
    """A point's data to choose training lengths on: some of its identities are no longer trained on but ranked.

    Query and gallery are all training images of the data set that show them, also those outside the point: it may
    hold a single image of each. No model is trained on those.

    Raises:
        DgaugError: too few identities, or no query with a match among the held-out ones.
    """
    names = class_names(one.data.splits[TRAIN])
    remedy = "give one length with --steps N and one --rates, and nothing is chosen, or use larger --fractions"
    if len(names) < FEWEST_IDENTITIES:
        raise DgaugError(
            f"fraction {one.fraction:g} has {len(names)} training identities, at least {FEWEST_IDENTITIES} are needed "
            f"to choose the number of steps on some of them; {remedy}"
        )
    order = draws("held-out identities", one.settings.seed).permutation(len(names))
    held = {names[place] for place in order[: max(2, round(HELD_OUT * len(names)))]}
    held = held if len(names) - len(held) >= 2 else set(sorted(held)[:2])
    fit = [record for record in one.data.splits[TRAIN] if record.identity not in held]
    ranked: list[Record] = [
        record for record in everything.splits[TRAIN] if record.identity in held and record.role is Role.IDENTITY
    ]
    query, gallery = validation_split(ranked, len(held), seed=one.settings.seed)
    chosen = replace(one.data, splits={TRAIN: fit, QUERY: query, GALLERY: gallery})
    try:
        require_evaluation(chosen)
    except DgaugError as error:
        raise DgaugError(f"the training identities held out to choose the number of steps: {error}; {remedy}") from None
    return chosen
