"""Near-duplicates: copies are found with what they copy, and fresh images are not called copies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.scores.quality import neighbours
from dgaug.scores.quality.near_duplicates import near_duplicates

Features = NDArray[np.float64]


def cloud(seed: int, count: int = 300, dimension: int = 5) -> Features:
    return np.random.default_rng(seed).standard_normal((count, dimension))


def cosine_distances(first: Features, second: Features) -> Features:
    lengths = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)
    return 1 - first @ second.T / lengths


@pytest.mark.parametrize("cells", [1, 1000, 10**6])
def test_the_nearest_and_the_threshold_equal_a_brute_force_computation(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "CELLS_PER_CHUNK", cells)
    real, generated = cloud(1), cloud(2, 100)
    result = near_duplicates(real, generated, quantile=0.2)
    apart = cosine_distances(generated, real)
    np.testing.assert_array_equal(result.neighbour, apart.argmin(axis=1))
    np.testing.assert_allclose(result.distance, apart.min(axis=1), atol=1e-12)
    within = cosine_distances(real, real) + 9 * np.eye(len(real))
    assert result.threshold == pytest.approx(np.quantile(within.min(axis=1), 0.2), abs=1e-12)
    np.testing.assert_array_equal(result.flagged, apart.min(axis=1) <= result.threshold)


def test_copies_are_flagged_with_their_originals_and_come_first() -> None:
    real, generated = cloud(1), cloud(2, 100)
    generated[[7, 50, 90]] = 3 * real[[10, 20, 30]]
    result = near_duplicates(real, generated)
    assert result.flagged[[7, 50, 90]].all()
    worst = result.worst(3)
    assert sorted(worst) == [7, 50, 90]
    assert dict(zip(worst.tolist(), result.neighbour[worst].tolist(), strict=True)) == {7: 10, 50: 20, 90: 30}
    assert (np.diff(result.distance[result.worst(100)]) >= 0).all()


def test_copies_are_flagged_even_where_the_real_images_repeat() -> None:
    real = np.repeat(cloud(1, 20), 2, axis=0)
    assert near_duplicates(real, real[:10]).share == 1
    assert near_duplicates(real, cloud(2, 50)).share == 0


def test_fresh_images_are_flagged_about_as_often_as_the_quantile_says() -> None:
    shares = [near_duplicates(cloud(k), cloud(1000 + k), quantile=0.1).share for k in range(10)]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("real", "generated", "quantile", "message"),
    [
        (cloud(1, 1), cloud(2), 0.01, "at least two real images"),
        (cloud(1), cloud(2), 1.0, "quantile must be between 0 and 1, found 1.0"),
        (cloud(1), 0 * cloud(2), 0.01, "a feature is zero everywhere"),
        (cloud(1), np.nan * cloud(2), 0.01, "near-duplicates: generated features hold NaN"),
        (cloud(1), cloud(2, dimension=4), 0.01, "5 numbers and generated ones of 4"),
    ],
)
def test_input_that_does_not_fit_is_named(real: Features, generated: Features, quantile: float, message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        near_duplicates(real, generated, quantile=quantile)
