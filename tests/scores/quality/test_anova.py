"""Row and column variance: known generators give known shares, and blocks are found where there are any."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.scores.quality import anova
from dgaug.scores.quality.anova import block_variance, full_block


def images(seed: int, count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 8, 3), dtype=np.uint8)


def copied(rows: int, columns: int, donor: str) -> NDArray[np.uint8]:
    """What a generator makes that copies one of the donors: [A, S, 16, 8, 3]."""
    if donor == "appearance":
        return np.repeat(images(1, rows)[:, None], columns, axis=1)
    return np.repeat(images(1, columns)[None], rows, axis=0)


@pytest.mark.parametrize("donor", ["appearance", "structure"])
def test_a_generator_that_copies_a_donor_varies_with_that_donor_only(donor: str) -> None:
    shares = block_variance(copied(3, 5, donor))
    assert shares.pop(donor) == pytest.approx(1)
    assert list(shares.values()) == pytest.approx([0, 0])


def test_a_sum_of_both_donors_has_no_interaction_and_shares_by_their_variance() -> None:
    chance = np.random.default_rng(2)
    rows, columns = chance.standard_normal((400, 1, 2)), 2 * chance.standard_normal((1, 400, 2))
    shares = block_variance(rows + columns + 7)
    assert shares["interaction"] == pytest.approx(0, abs=1e-12)
    assert shares["structure"] / shares["appearance"] == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("values", [1, 100, 10**7])
def test_shares_equal_the_analysis_of_variance_written_out(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anova, "VALUES_PER_CHUNK", values)
    block = images(4, 12).reshape(3, 4, 16, 8, 3)
    shares = block_variance(block)
    assert sum(shares.values()) == pytest.approx(1, abs=1e-12)
    sums = np.zeros(3)
    for place in product(range(16), range(8), range(3)):
        cells = block[(slice(None), slice(None), *place)].astype(float)
        mean, row, column = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
        for i, j in product(range(3), range(4)):
            sums += (row[i] - mean) ** 2, (column[j] - mean) ** 2, (cells[i, j] - row[i] - column[j] + mean) ** 2
    expected = dict(zip(("appearance", "structure", "interaction"), sums / sums.sum(), strict=True))
    assert shares == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.zeros((1, 4, 8)), "at least 2 appearances on 2 structures"),
        (np.zeros((4, 4)), "expected a block"),
        (np.full((3, 3, 4), 0.1), "all images of the block are the same"),
        (np.full((3, 3, 4), np.nan), "NaN or infinity"),
    ],
)
def test_a_block_without_an_answer_is_named(block: NDArray[np.float64], message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        block_variance(block)


def grid(rows: range, columns: range) -> NDArray[np.int64]:
    return np.array(list(product(rows, columns)), np.int64)


def assert_full(pairs: NDArray[np.int64], block: NDArray[np.int64] | None, shape: tuple[int, int]) -> None:
    assert block is not None
    assert block.shape == shape
    result = pairs[block]
    assert (result[:, :, 0] == result[:, :1, 0]).all()
    assert (result[:, :, 1] == result[:1, :, 1]).all()
    assert len(set(result[:, 0, 0])) == shape[0]
    assert len(set(result[0, :, 1])) == shape[1]


def test_a_block_is_found_in_all_pairs_in_a_grid_and_between_identities() -> None:
    every = grid(range(12), range(12))
    crossed = every[every[:, 0] // 3 != every[:, 1] // 3]
    for pairs in (every, np.random.default_rng(0).permutation(crossed), grid(range(3, 7), range(20, 24))):
        assert_full(pairs, full_block(pairs, appearances=2, structures=4, seed=1), (2, 4))


def test_a_block_follows_its_seed() -> None:
    pairs = grid(range(12), range(12))
    first, again, other = (full_block(pairs, appearances=3, structures=3, seed=seed) for seed in (1, 1, 2))
    assert first is not None
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_few_random_pairs_hold_no_block() -> None:
    pairs = np.random.default_rng(0).integers(0, 500, (600, 2))
    assert full_block(pairs, appearances=3, structures=3, seed=0) is None
    assert full_block(grid(range(2), range(9)), appearances=3, structures=3, seed=0) is None
