"""Generated images that are nearly copies of real training images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.scores.quality.neighbours import TIE, Features, comparable_features, nearest, own_rows, unit_features

QUANTILE = 0.01


@dataclass(frozen=True)
class NearDuplicates:
    """The nearest real image of each of M generated ones.

    Attributes:
        distance: cosine distance to it, float64 [M], 0..2.
        neighbour: its row among the real images, int64 [M].
        threshold: the distance up to which a generated image counts as a near-duplicate.
    """

    distance: NDArray[np.float64]
    neighbour: NDArray[np.int64]
    threshold: float

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """Which generated images are near-duplicates: [M]."""
        return np.asarray(self.distance <= self.threshold + TIE)

    @property
    def share(self) -> float:
        """Share of near-duplicates, 0..1."""
        return float(self.flagged.mean())

    def worst(self, count: int) -> NDArray[np.int64]:
        """Rows of the generated images that are nearest to a real one, flagged or not, the nearest first."""
        return np.argsort(self.distance, kind="stable")[:count]


def near_duplicates(real: Features, generated: Features, *, quantile: float = QUANTILE) -> NearDuplicates:
    """Which generated features [M, D] lie as near to a real one [N, D] as only few real ones lie to each other.

    The threshold is a quantile of the cosine distances from each real image to its nearest other one. Unseen real
    images are flagged about as often as the quantile says: a share far above it means that training images come
    back; lower is better. Pairs (i, i) are reconstructions and should not be among the generated images.

    Raises:
        DgaugError: shapes that do not fit, NaN, infinity or zero features, fewer than two real images, or a quantile
            that is not between 0 and 1.
    """
    if not 0 < quantile < 1:
        raise DgaugError(f"near-duplicates: the quantile must be between 0 and 1, found {quantile}")
    real, generated = comparable_features(real, generated, what="near-duplicates")
    if len(real) < 2:
        raise DgaugError("near-duplicates: at least two real images are needed to know how near is usual, found 1")
    real, generated = (unit_features(features, what="near-duplicates") for features in (real, generated))
    usual, _ = nearest(real, real, left_out=own_rows(real))
    distances, neighbour = nearest(generated, real)
    threshold = torch.quantile(usual[:, 0].cpu() / 2, quantile)
    return NearDuplicates(distances[:, 0].cpu().numpy() / 2, neighbour[:, 0].cpu().numpy(), float(threshold))
