"""The scores that know the donors of every generated image, and for each that cannot be taken the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
ONE_BY_ONE = ("ssim", "structure", "identity", "teacher", "oracle")
"""The scores that are taken over `SAMPLE`."""
Compute = Callable[[], dict[str, Any]]


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


def donor_scores(
    donors: Donors | str, teacher: ReidModel | None, *, judged: Compute | None, wanted: Sequence[str]
) -> dict[str, Compute | str]:
    """How to take each wanted score that needs the donors, or why it cannot be taken.

    Args:
        donors: or why they are not known.
        teacher: the model that made the labels.
        judged: takes the score of an independent judge; None where there is none.
        wanted: some of `OF_DONORS`; no block is searched for the others.
    """
    if isinstance(donors, str):
        return dict.fromkeys(wanted, donors)
    store, pairs, seed = donors.store, donors.pairs, donors.seed
    own = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    _, counts = np.unique(store.sources.identity[pairs[:, 0]], return_counts=True)
    metrics: dict[str, Compute | str] = {
        "ssim": lambda: self_reconstruction(donors.sample(own), store.sources, donors.root),
        "diversity": lambda: {"diversity_dssim": diversity(donors.images, seed)},
        "structure": lambda: {"structure": _structure(donors)},
        "identity": _identity(donors, teacher, judged),
        "teacher": (lambda: _teacher(donors)) if store.has_labels else "the store has no soft labels",
        "oracle": lambda: {"oracle": oracle_error(donors.sample(donors.crossed), store.sources, donors.root)},
    }
    if not len(own):
        metrics["ssim"] = "the store has no image of an appearance on its own structure"
    if counts.max() < 2:
        metrics["diversity"] = "needs two images of one appearance identity"
    if not len(donors.crossed):
        metrics |= dict.fromkeys(("structure", "identity", "oracle"), "the store has no pair of two identities")
    if not is_toy(donors.root):
        metrics["oracle"] = "only the embedded data have true images"
    if "variance" in wanted:
        metrics["variance"] = _variance(donors)
    return {name: metrics[name] for name in wanted}


def judged_scores(seen: SeenIdentity, ceiling: SeenIdentity) -> dict[str, float]:
    """What an independent judge sees in generated images, beside real ones that it is asked about in the same way."""
    return seen.summary() | {
        "identity_rank1_real": float(ceiling.is_appearance.mean()),
        "identity_cosine_real": float(ceiling.appearance_cosine.mean()),
    }


def _structure(donors: Donors) -> dict[str, dict[str, float]]:
    """Likeness to both donors; on embedded data also that of the true images, which is what can be reached."""
    sample = donors.sample(donors.crossed)
    structures, appearances = donors.originals(sample.structure), donors.originals(sample.appearance)
    metrics = structure_consistency(sample.pixels, structures, appearances)
    if is_toy(donors.root):
        true = true_images(sample, donors.store.sources, donors.root)
        reached = structure_consistency(true, structures, appearances)
        metrics |= {f"{name}, true picture": likeness for name, likeness in reached.items()}
    return metrics


def _variance(donors: Donors) -> Compute | str:
    rows = donors.block
    if rows is None:
        return f"the store has no {BLOCK} appearances that all stand on the same {BLOCK} structures"

    def compute() -> dict[str, Any]:
        pixels = donors.images.at(rows.ravel()).pixels
        return {"variance": block_variance(pixels.reshape(*rows.shape, *pixels.shape[1:]))}

    return compute


def _identity(donors: Donors, teacher: ReidModel | None, judged: Compute | None) -> Compute | str:
    """Whom the teacher sees, and whom the judge sees."""
    fitting = (
        teacher
        if teacher is not None
        and teacher.knows(donors.store.sources.class_name)
        and teacher.image_size == donors.store.spec.image_size
        else None
    )
    if fitting is None and judged is None:
        if teacher is not None:
            return "the teacher was trained for other identities or another image size; --judge names another judge"
        return "needs a judge: --judge FILE or NAME=FILE, or a run with a teacher"

    def compute() -> dict[str, Any]:
        seen: dict[str, Any] = judged() if judged is not None else {}
        if fitting is not None:
            seen |= identity_consistency(donors.sample(donors.crossed), donors.store.sources, fitting)
        return seen

    return compute


def _teacher(donors: Donors) -> dict[str, Any]:
    rows = donors.images.choice(SAMPLE, donors.seed)
    labels = np.stack([donors.store.dense_label(int(row)) for row in rows])
    return teacher_agreement(labels, donors.store.sources.identity[donors.pairs[rows, 0]])
