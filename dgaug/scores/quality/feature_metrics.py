"""Scores of an encoder's features, generated against real: Fréchet, kernel, precision and recall, near-duplicates."""

from __future__ import annotations

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


def frechet_scores(features: Features, seed: int) -> dict[str, Any]:
    """The distance, real against real at half the count, and both at parts of the count."""
    key, kept = features.encoder.frechet_key, features.kept()
    scores: dict[str, Any] = {key: _whole_distance(features)}
    if kept is None:
        return scores
    by_count, (generated, real) = {}, kept
    for part in PARTS:
        count = min(len(generated), len(real)) // part
        if count >= 2:
            by_count[str(count)] = {
                "generated": frechet_of_features(generated[:count], real[:count]),
                "real": frechet_of_features(real[:count], real[count : 2 * count]),
            }
    if by_count:
        scores[f"{key}_floor"] = list(by_count.values())[-1]["real"]
        scores[f"{key}_by_count"] = by_count
    return scores


def kernel_scores(features: Features, seed: int) -> dict[str, Any]:
    """The distance over subsets and its spread; nothing for too few images."""
    kept = features.kept()
    subset = None if kept is None else kernel_subset(min(map(len, kept)))
    if kept is None or subset is None:
        return {}
    key, (generated, real) = features.encoder.kernel_key, kept
    kernel = kernel_distance(real, generated, subset_size=subset, seed=seed)
    return {key: kernel.mean, f"{key}_spread": kernel.spread}


def precision_scores(features: Features, seed: int) -> dict[str, Any]:
    """Precision, recall, density and coverage at equal counts; nothing for too few images."""
    kept = features.kept()
    fewer = 0 if kept is None else min(map(len, kept))
    if kept is None or fewer <= DENSITY_NEIGHBOURS:
        return {}
    values = manifold_scores(kept[1][:fewer], kept[0][:fewer])
    return {f"{name}_{features.encoder.name}": value for name, value in values.items()}


def duplicate_scores(features: Features, seed: int) -> dict[str, Any]:
    """The share of near-duplicates and what counts as near; nothing without images."""
    near, name = features.duplicates, features.encoder.name
    return {} if near is None else {f"duplicates_{name}": near.share, f"duplicates_threshold_{name}": near.threshold}


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
