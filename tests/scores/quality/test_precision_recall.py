"""Precision, recall, density, coverage: a brute-force computation of the papers' definitions, and what they mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.scores.quality import neighbours
from dgaug.scores.quality.precision_recall import manifold_scores

Features = NDArray[np.float64]


def cloud(seed: int, count: int = 60, dimension: int = 6, shift: float = 0.0, scale: float = 1.0) -> Features:
    return np.random.default_rng(seed).standard_normal((count, dimension)) * scale + shift


def brute_force(real: Features, generated: Features, k: int, density_k: int) -> dict[str, float]:
    """One pair after the other, with the squares of differences."""

    def distance(x: Features, y: Features) -> float:
        return float(np.square(x - y).sum())

    def radius(points: Features, place: int, neighbours: int) -> float:
        others = [distance(points[place], point) for other, point in enumerate(points) if other != place]
        return sorted(others)[neighbours - 1]

    ball = [radius(real, i, k) for i in range(len(real))]
    wide = [radius(real, i, density_k) for i in range(len(real))]
    own = [radius(generated, j, k) for j in range(len(generated))]
    apart = np.array([[distance(x, y) for x in real] for y in generated])
    return {
        "precision": np.mean([any(row[i] <= ball[i] for i in range(len(real))) for row in apart]),
        "recall": np.mean([any(apart[j, i] <= own[j] for j in range(len(generated))) for i in range(len(real))]),
        "density": np.mean([sum(row[i] <= wide[i] for i in range(len(real))) for row in apart]) / density_k,
        "coverage": np.mean([any(apart[j, i] <= wide[i] for j in range(len(generated))) for i in range(len(real))]),
    }


LATTICE = np.random.default_rng(3).integers(0, 3, (70, 4)).astype(float)


@pytest.mark.parametrize("cells", [1, 500, 10**6])
@pytest.mark.parametrize(
    ("real", "generated"),
    [
        (cloud(1), cloud(2, count=45)),
        (cloud(1), cloud(2, shift=0.8, scale=0.5)),
        (LATTICE[:40], LATTICE[40:]),
        (LATTICE[:40], LATTICE[:40]),
        (np.repeat(LATTICE[:10], 5, axis=0), LATTICE[5:25]),
    ],
    ids=["unequal counts", "shifted", "ties on a lattice", "the real ones themselves", "every real one five times"],
)
@pytest.mark.parametrize(("k", "density_k"), [(3, 5), (5, 2)])
def test_the_figures_equal_a_brute_force_computation(
    real: Features, generated: Features, k: int, density_k: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "CELLS_PER_CHUNK", cells)
    result = manifold_scores(real, generated, k=k, density_k=density_k)
    assert result == pytest.approx(brute_force(real, generated, k, density_k), abs=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_ties_and_the_place_of_the_origin_do_not_move_the_figures(offset: float) -> None:
    real, generated = (np.round(64 * cloud(seed)) / 64 for seed in (1, 2))
    copied = np.concatenate((generated, real[:20], real[:20]))
    expected = brute_force(real, copied, 3, 5)
    assert manifold_scores(real + offset, copied + offset) == pytest.approx(expected, abs=1e-12)
    turned, _ = np.linalg.qr(cloud(9, count=6))
    assert manifold_scores(real @ turned, copied @ turned) == pytest.approx(expected, abs=1e-12)


def test_single_precision_and_tensors_are_taken_too() -> None:
    real, generated = cloud(1).astype(np.float32), cloud(2).astype(np.float32)
    expected = brute_force(real.astype(float), generated.astype(float), 3, 5)
    assert manifold_scores(torch.from_numpy(real), generated) == pytest.approx(expected, abs=1e-12)


def test_equal_distributions_score_high_and_far_ones_nothing() -> None:
    near = manifold_scores(cloud(1, 400, 2), cloud(2, 400, 2))
    assert near["precision"] > 0.9
    assert near["recall"] > 0.9
    assert near["coverage"] > 0.9
    assert near["density"] == pytest.approx(1, abs=0.1)
    assert set(manifold_scores(cloud(1), cloud(2, shift=100)).values()) == {0.0}


def test_precision_sees_fidelity_and_recall_and_coverage_see_what_is_missing() -> None:
    narrow = manifold_scores(cloud(1, 400, 2), cloud(2, 400, 2, scale=0.1))
    assert narrow["precision"] > 0.95
    assert narrow["recall"] < 0.3
    assert narrow["coverage"] < 0.3
    wide = manifold_scores(cloud(1, 400, 2), cloud(2, 400, 2, scale=8))
    assert wide["precision"] < 0.3
    assert wide["recall"] > 0.8


def test_one_real_outlier_moves_precision_and_not_density() -> None:
    real, strange = cloud(1, 100, 2), cloud(2, 100, 2, shift=4)
    outliers = np.concatenate((real, [[40.0, 40.0]]))
    before, after = manifold_scores(real, strange), manifold_scores(outliers, strange)
    assert after["precision"] - before["precision"] > 0.5
    assert after["density"] - before["density"] < 0.25


@pytest.mark.parametrize(
    ("real", "generated", "options", "message"),
    [
        (cloud(1, 5), cloud(2), {}, "5 nearest neighbours among 5 real features; take at least 6 real images"),
        (cloud(1), cloud(2, 3), {}, "3 nearest neighbours among 3 generated features; take at least 4 generated"),
        (cloud(1), cloud(2), {"k": 0}, "0 nearest neighbours"),
        (cloud(1), cloud(2, dimension=7), {}, "real features of 6 numbers and generated ones of 7"),
        (cloud(1), cloud(2) * np.nan, {}, "generated features hold NaN or infinity"),
        (cloud(1) / 0.0, cloud(2), {}, "real features hold NaN or infinity"),
        (cloud(1)[0], cloud(2), {}, r"real features must be \[N, D\]"),
        (cloud(1), cloud(2, 0), {}, "generated features must be"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_input_that_does_not_fit_is_named_in_one_line(
    real: Features, generated: Features, options: dict[str, int], message: str
) -> None:
    with pytest.raises(DgaugError, match=message) as error:
        manifold_scores(real, generated, **options)
    assert "\n" not in str(error.value)
