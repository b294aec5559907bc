"""Precision, recall, density and coverage: do the real and the generated features lie in the same places."""

from __future__ import annotations

import torch
from torch import Tensor

from dgaug.errors import DgaugError
from dgaug.scores.quality.neighbours import (
    TIE,
    Features,
    chunks,
    comparable_features,
    nearest,
    own_rows,
    squared_distances,
)

NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5


def manifold_scores(
    real: Features, generated: Features, *, k: int = NEIGHBOURS, density_k: int = DENSITY_NEIGHBOURS
) -> dict[str, float]:
    """Precision, recall, density and coverage of features [N, D] (real) and [M, D] (generated); higher is better.

    Each feature has a ball that reaches to its k-th nearest neighbour in its own set, itself not counted.

    - `precision` (0..1): share of the generated features inside the ball of a real one: are they realistic?
    - `recall` (0..1): share of the real features inside the ball of a generated one: is everything there?
      Both with `k` neighbours: Kynkäänniemi et al. 2019, section 2.
    - `density` (from 0, about 1 for equal distributions): mean number of real balls around a generated feature, by
      `density_k`; unlike precision it is not moved by one real outlier with a large ball.
    - `coverage` (0..1): share of the real balls of `density_k` neighbours with a generated feature inside.
      Naeem et al. 2020, section 3.

    A feature on the surface of a ball is inside. Distances are Euclidean, in float64, some rows at a time. The values
    move with N and M: compare equal counts only.

    Raises:
        DgaugError: shapes that do not fit, NaN or infinity, or fewer than k + 1 features where k neighbours are needed.
    """
    real, generated = comparable_features(real, generated, what="precision and recall")
    _require_neighbours("real", real, max(k, density_k))
    _require_neighbours("generated", generated, k)
    # Far from the origin the product form of a distance loses its digits.
    centre = real.mean(dim=0)
    real, generated = real - centre, generated - centre
    radii, _ = nearest(real, real, max(k, density_k), left_out=own_rows(real))
    ball, wide_ball = radii[:, k - 1], radii[:, density_k - 1]
    own_ball = nearest(generated, generated, k, left_out=own_rows(generated))[0][:, -1:]
    precise = inside = 0
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    covered = recalled.clone()
    for rows in chunks(len(generated), len(real)):
        distances = squared_distances(generated[rows], real)
        distances -= _rounding(generated[rows])[:, None] + _rounding(real)
        in_wide_ball = distances <= wide_ball
        precise += int((distances <= ball).any(dim=1).sum())
        recalled |= (distances <= own_ball[rows]).any(dim=0)
        inside += int(in_wide_ball.sum())
        covered |= in_wide_ball.any(dim=0)
    return {
        "precision": precise / len(generated),
        "recall": float(recalled.double().mean()),
        "density": inside / (density_k * len(generated)),
        "coverage": float(covered.double().mean()),
    }


def _rounding(features: Tensor) -> Tensor:
    """What a squared distance of each feature may be off by: [N]."""
    return TIE * features.square().sum(dim=1)


def _require_neighbours(which: str, features: Tensor, k: int) -> None:
    if not 1 <= k < len(features):
        raise DgaugError(
            f"precision and recall: {k} nearest neighbours among {len(features)} {which} features; "
            f"take at least {k + 1} {which} images" + ("" if k >= 1 else " and 1 neighbour")
        )
