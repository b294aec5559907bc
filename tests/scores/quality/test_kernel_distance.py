import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from dgaug.errors import DgaugError
from dgaug.scores.quality.kernel_distance import kernel_distance, polynomial_mmd


def features(seed, count=60, dimension=8, shift=0.0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, dimension)) + shift)


def test_the_discrepancy_is_the_unbiased_sum_over_pairs():
    first, second = features(1, 7), features(2, 5, shift=0.3)

    def kernel(x, y):
        return (float(x @ y) / 8 + 1) ** 3

    expected = (
        np.mean([kernel(x, y) for i, x in enumerate(first) for j, y in enumerate(first) if i != j])
        + np.mean([kernel(x, y) for i, x in enumerate(second) for j, y in enumerate(second) if i != j])
        - 2 * np.mean([kernel(x, y) for x in first for y in second])
    )
    assert float(polynomial_mmd(first, second)) == pytest.approx(expected, rel=1e-12)


def test_subsets_of_everything_give_the_figure_of_torchmetrics_without_spread():
    first, second = features(1), features(2, shift=0.5)
    result = kernel_distance(first, second.numpy(), subsets=3, seed=0)
    assert result.mean == pytest.approx(float(poly_mmd(first, second)), rel=1e-12)
    assert result.spread == pytest.approx(0, abs=1e-12)
    assert (result.subsets, result.subset_size) == (3, 60)


def test_subsets_follow_the_seed_and_their_mean_nears_the_whole():
    first, second = features(1), features(2, shift=0.5)
    result = kernel_distance(first, second, subsets=200, subset_size=30, seed=4)
    assert result == kernel_distance(first, second, subsets=200, subset_size=30, seed=4)
    assert result != kernel_distance(first, second, subsets=200, subset_size=30, seed=5)
    assert result.spread > 0
    assert result.mean == pytest.approx(float(poly_mmd(first, second)), abs=4 * result.spread / 200**0.5)


def test_equal_distributions_are_at_no_distance_on_average():
    distances = [kernel_distance(features(2 * k), features(2 * k + 1), subsets=1).mean for k in range(200)]
    assert abs(np.mean(distances)) < 4 * np.std(distances) / 200**0.5
    assert min(distances) < 0


@pytest.mark.parametrize(
    ("first", "second", "size", "message"),
    [
        (features(1), features(2, dimension=9), None, "8 and 9 numbers"),
        (features(1), features(2), 61, "subsets of 61 images cannot be drawn from 60 and 60"),
        (features(1), features(2, count=1), None, "cannot be drawn"),
        (features(1)[0], features(2), None, "expected the first features"),
        (features(1), features(2) * torch.nan, None, "NaN or infinity among the second"),
    ],
)
def test_input_that_does_not_fit_is_named(first, second, size, message):
    with pytest.raises(DgaugError, match=message):
        kernel_distance(first, second, subset_size=size)
