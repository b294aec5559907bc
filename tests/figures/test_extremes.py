"""The worst and the best: by their scores, never the same image in both, each under its own donors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.figures.sheets import BETWEEN, GAP, MARGIN, extreme_rows, extremes_sheet


def test_rows_go_from_the_extremes_inwards() -> None:
    worst, best = extreme_rows(np.array([0.5, 0.1, 0.9, 0.3, 0.7]), 2)
    assert worst.tolist() == [1, 3]
    assert best.tolist() == [2, 4]


def test_no_image_is_worst_and_best() -> None:
    worst, best = extreme_rows(np.array([0.2, 0.2, 0.1]))
    assert (len(worst), len(best)) == (1, 1)
    assert set(worst).isdisjoint(best)


@pytest.mark.parametrize("scores", [np.array([0.5]), np.array([0.5, np.nan]), np.zeros((2, 2))])
def test_scores_that_have_no_order_are_refused(scores: NDArray[np.float64]) -> None:
    with pytest.raises(DgaugError, match="at least 2 scores without NaN"):
        extreme_rows(scores)


def test_every_image_stands_under_its_donors() -> None:
    height, width = 128, 64

    def images(first: int) -> NDArray[np.uint8]:
        greys = np.arange(first, first + 6, dtype=np.uint8).reshape(2, 3, 1, 1, 1)
        return np.broadcast_to(greys, (2, 3, height, width, 3)).copy()

    sheet = np.asarray(
        extremes_sheet(images(10), images(110), images(210), [[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]], what="colour")
    )
    half = GAP + 3 * (width + GAP)
    for side in range(2):
        for column in range(3):
            x = MARGIN + side * (half + BETWEEN) + GAP + column * (width + GAP) + width // 2
            for row, first in enumerate((10, 110, 210)):
                y = MARGIN + GAP + row * (height + 2 * GAP) + height // 2
                assert sheet[y, x].tolist() == [first + 3 * side + column] * 3
