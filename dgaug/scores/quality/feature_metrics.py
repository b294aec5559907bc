"""Scores of an encoder's features, generated against real: Fréchet, kernel, precision and recall, near-duplicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from dgaug.scores.quality.encoders import Encoder
from dgaug.scores.quality.feature_statistics import Given, Statistics
from dgaug.scores.quality.frechet import frechet_distance, frechet_of_features
from dgaug.scores.quality.kernel_distance import kernel_distance
from dgaug.scores.quality.near_duplicates import NearDuplicates, near_duplicates
from dgaug.scores.quality.precision_recall import DENSITY_NEIGHBOURS, manifold_scores

KERNEL_SUBSET, KERNEL_LEAST = 1000, 4
PARTS = (8, 4, 2)
"""The distance is also given at these parts of the count: how far it depends on the count."""
FRECHET, KERNEL, MANIFOLD, DUPLICATES = "frechet", "kernel", "precision", "duplicates"


@dataclass(frozen=True)
class Features:
    """Both sides by one encoder; a side that was given as statistics has nothing but its moments.

    Attributes:
        generated, real: the sides.
        crossed: which kept generated features are of pairs of two different images; None: all.
    """

    encoder: Encoder
    generated: Statistics | Given
    real: Statistics | Given
    crossed: Tensor | None = None

    def kept(self) -> tuple[Tensor, Tensor] | None:
        """The features kept one by one: generated and real; None where a side has none."""
        if isinstance(self.generated, Given) or isinstance(self.real, Given):
            return None
        return self.generated.features, self.real.features

    @cached_property
    def duplicates(self) -> NearDuplicates | None:
        """The nearest real image of each kept generated one that is no reconstruction."""
        kept = self.kept()
        if kept is None:
            return None
        generated = kept[0] if self.crossed is None else kept[0][self.crossed]
        return near_duplicates(kept[1], generated) if len(generated) else None


def kernel_subset(fewer: int) -> int | None:
    """Images of each side in a subset of the kernel distance, where the smaller side has `fewer`; None: too few."""
    return min(KERNEL_SUBSET, fewer // 2) if fewer >= KERNEL_LEAST else None


def feature_scores(features: Features, wanted: Callable[[str], bool], *, seed: int) -> dict[str, Any]:
    """The scores of one encoder that are wanted (`frechet`, `kernel`, `precision`, `duplicates`), named after it."""
    encoder, kept = features.encoder, features.kept()
    scores: dict[str, Any] = {}
    if wanted(FRECHET):
        scores |= _frechet_scores(features)
    if kept is None:
        return scores
    generated, real = kept
    fewer = min(len(generated), len(real))
    if wanted(KERNEL) and (subset := kernel_subset(fewer)) is not None:
        kernel = kernel_distance(real, generated, subset_size=subset, seed=seed)
        scores |= {encoder.kernel_key: kernel.mean, f"{encoder.kernel_key}_spread": kernel.spread}
    if wanted(MANIFOLD) and fewer > DENSITY_NEIGHBOURS:
        values = manifold_scores(real[:fewer], generated[:fewer])
        scores |= {f"{name}_{encoder.name}": value for name, value in values.items()}
    if wanted(DUPLICATES) and (near := features.duplicates) is not None:
        scores |= {
            f"duplicates_{encoder.name}": near.share,
            f"duplicates_threshold_{encoder.name}": near.threshold,
        }
    return scores


def _frechet_scores(features: Features) -> dict[str, Any]:
    """The distance, real against real at half the count, and both at parts of the count."""
    key, kept = features.encoder.frechet_key, features.kept()
    scores: dict[str, Any] = {key: _whole_distance(features)}
    if kept is None:
        return scores
    by_count = {}
    for part in PARTS:
        count = min(len(kept[0]), len(kept[1])) // part
        if count >= 2:
            by_count[str(count)] = _at(count, *kept)
    if by_count:
        scores[f"{key}_floor"] = list(by_count.values())[-1]["real"]
        scores[f"{key}_by_count"] = by_count
    return scores


def _at(count: int, generated: Tensor, real: Tensor) -> dict[str, float]:
    """Generated against real, and real against other real ones, with `count` images on each side."""
    return {
        "generated": frechet_of_features(generated[:count], real[:count]),
        "real": frechet_of_features(real[:count], real[count : 2 * count]),
    }


def _whole_distance(features: Features) -> float:
    """From the features themselves where they are so few that this is cheaper, else from the moments."""
    sides = features.generated, features.real
    kept = features.kept()
    few = all(
        isinstance(side, Statistics) and len(side.features) == side.moments.count <= features.encoder.dimension
        for side in sides
    )
    if kept is not None and few:
        return frechet_of_features(*kept)
    return frechet_distance(*(side.moments for side in sides))
