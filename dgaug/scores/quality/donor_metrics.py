"""The scores that know the donors of every generated image, and for each that cannot be taken the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dgaug.data.toy import is_toy
from dgaug.models.checkpoints import ReidModel
from dgaug.scores.quality.anova import block_variance, full_block
from dgaug.scores.quality.diversity import diversity
from dgaug.scores.quality.feature_statistics import Given
from dgaug.scores.quality.identity_consistency import SeenIdentity, identity_consistency, teacher_agreement
from dgaug.scores.quality.image_sets import ImageSet, Pixels, Rows, Sample, donor_images
from dgaug.scores.quality.oracle import oracle_error, true_images
from dgaug.scores.quality.ssim import self_reconstruction
from dgaug.scores.quality.structure_consistency import structure_consistency
from dgaug.store.read import StoreDataset

SAMPLE = 256
"""Images of a store that are looked at one by one (similarity, structure, identity, oracle)."""
BLOCK = 8
"""Appearances and structures of the block whose variance is taken."""
Compute = Callable[[], dict[str, Any]]
_NOT_CROSSED = "the store has no pair of two identities"


@dataclass(frozen=True)
class Donors:
    """A store whose donors' images are at hand.

    Attributes:
        images: the generated images.
        store: the store that they come from.
        root: where the paths of its sources start.
        pairs: appearance and structure of every row [M, 2].
        crossed: rows of pairs of two identities.
        seed: of every sample.
    """

    images: ImageSet
    store: StoreDataset
    root: Path
    pairs: Rows
    crossed: Rows
    seed: int

    @classmethod
    def of(cls, images: ImageSet | Given, root: Path | None, seed: int) -> Donors | str:
        """The donors of a store's images, or why they are not known."""
        if isinstance(images, Given) or images.store is None:
            return "needs to know the donors: score a store, not a folder"
        if root is None or not (root / images.store.sources.path[0]).is_file():
            return f"the store's source images are not below {root}; --real names the data set it was made from"
        pairs, identity = images.pairs(), images.store.sources.identity
        crossed = np.flatnonzero(identity[pairs[:, 0]] != identity[pairs[:, 1]])
        return cls(images, images.store, root, pairs, crossed, seed)

    @cached_property
    def block(self) -> Rows | None:
        """Rows [8, 8] of appearances that all stand on the same structures; None where there are not as many."""
        return full_block(self.pairs, appearances=BLOCK, structures=BLOCK, seed=self.seed)

    def sample(self, among: Rows) -> Sample:
        """At most `SAMPLE` of these rows."""
        return self.images.at(self.images.choice(SAMPLE, self.seed, among=among))

    def originals(self, donors: Rows | None) -> Pixels:
        """The images of donors uint8 [M, H, W, 3], as the generator saw them."""
        return donor_images(self.store.sources, np.asarray(donors), self.root, self.store.spec.image_size)


@dataclass(frozen=True)
class Judges:
    """Who is asked for identities.

    Attributes:
        teacher: the model that made the labels; None where there is none.
        independent: takes the score of an independent judge; None where there is none.
    """

    teacher: ReidModel | None
    independent: Compute | None


def ssim(donors: Donors, _judges: Judges) -> Compute | str:
    """Likeness of reconstructions to their image."""
    own = np.flatnonzero(donors.pairs[:, 0] == donors.pairs[:, 1])
    if not len(own):
        return "the store has no image of an appearance on its own structure"
    return lambda: self_reconstruction(donors.sample(own), donors.store.sources, donors.root)


def variety(donors: Donors, _judges: Judges) -> Compute | str:
    """Dissimilarity within an appearance identity."""
    _, counts = np.unique(donors.store.sources.identity[donors.pairs[:, 0]], return_counts=True)
    if counts.max() < 2:
        return "needs two images of one appearance identity"
    return lambda: {"diversity_dssim": diversity(donors.images, donors.seed)}


def structure(donors: Donors, _judges: Judges) -> Compute | str:
    """Likeness to both donors; on embedded data also that of the true images, which is what can be reached."""

    def compute() -> dict[str, Any]:
        sample = donors.sample(donors.crossed)
        structures, appearances = donors.originals(sample.structure), donors.originals(sample.appearance)
        likeness = structure_consistency(sample.pixels, structures, appearances)
        if is_toy(donors.root):
            true = true_images(sample, donors.store.sources, donors.root)
            reached = structure_consistency(true, structures, appearances)
            likeness |= {f"{name}, true picture": value for name, value in reached.items()}
        return {"structure": likeness}

    return compute if len(donors.crossed) else _NOT_CROSSED


def variance(donors: Donors, _judges: Judges) -> Compute | str:
    """What appearance, structure and neither alone explain of a block of images."""
    rows = donors.block
    if rows is None:
        return f"the store has no {BLOCK} appearances that all stand on the same {BLOCK} structures"

    def compute() -> dict[str, Any]:
        pixels = donors.images.at(rows.ravel()).pixels
        return {"variance": block_variance(pixels.reshape(*rows.shape, *pixels.shape[1:]))}

    return compute


def identity(donors: Donors, judges: Judges) -> Compute | str:
    """Whom the teacher sees, and whom an independent judge sees."""
    teacher, judged, store = judges.teacher, judges.independent, donors.store
    fits = (
        teacher is not None and teacher.knows(store.sources.class_name) and teacher.image_size == store.spec.image_size
    )
    if not len(donors.crossed):
        return _NOT_CROSSED
    if not fits and judged is None:
        if teacher is not None:
            return "the teacher was trained for other identities or another image size; --judge names another judge"
        return "needs a judge: --judge FILE or NAME=FILE, or a run with a teacher"

    def compute() -> dict[str, Any]:
        seen: dict[str, Any] = judged() if judged is not None else {}
        if teacher is not None and fits:
            seen |= identity_consistency(donors.sample(donors.crossed), store.sources, teacher)
        return seen

    return compute


def labels(donors: Donors, _judges: Judges) -> Compute | str:
    """What the soft labels say of the appearance donor."""

    def compute() -> dict[str, Any]:
        rows = donors.images.choice(SAMPLE, donors.seed)
        stored = np.stack([donors.store.dense_label(int(row)) for row in rows])
        return teacher_agreement(stored, donors.store.sources.identity[donors.pairs[rows, 0]])

    return compute if donors.store.has_labels else "the store has no soft labels"


def oracle(donors: Donors, _judges: Judges) -> Compute | str:
    """The error against the true images of the embedded data."""
    if not is_toy(donors.root):
        return "only the embedded data have true images"
    if not len(donors.crossed):
        return _NOT_CROSSED
    return lambda: {"oracle": oracle_error(donors.sample(donors.crossed), donors.store.sources, donors.root)}


def judged_scores(seen: SeenIdentity, ceiling: SeenIdentity) -> dict[str, float]:
    """What an independent judge sees in generated images, beside real ones that it is asked about in the same way."""
    return seen.summary() | {
        "identity_rank1_real": float(ceiling.is_appearance.mean()),
        "identity_cosine_real": float(ceiling.appearance_cosine.mean()),
    }
