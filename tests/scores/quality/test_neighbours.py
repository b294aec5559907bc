"""Nearest neighbours: those of a brute-force search, however the rows are cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.scores.quality import neighbours
from dgaug.scores.quality.neighbours import comparable_features, nearest, own_rows, squared_distances, unit_features


def cloud(seed: int, count: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal((count, 5))


@pytest.mark.parametrize("cells", [7, 1_000_000])
def test_neighbours_are_those_of_a_search_through_all(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    monkeypatch.setattr(neighbours, "CELLS_PER_CHUNK", cells)
    queries, references = cloud(0, 9), cloud(1, 20)
    distance = np.linalg.norm(queries[:, None] - references, axis=2)
    result, rows = nearest(torch.from_numpy(queries), torch.from_numpy(references), 3)
    np.testing.assert_array_equal(rows, distance.argsort(axis=1)[:, :3])
    np.testing.assert_allclose(result, np.sort(distance, axis=1)[:, :3] ** 2, rtol=1e-10)


def test_a_row_that_is_left_out_is_nobodys_neighbour() -> None:
    features = torch.from_numpy(cloud(0, 12))
    assert torch.equal(nearest(features, features)[1][:, 0], torch.arange(12))
    _, rows = nearest(features, features, left_out=own_rows(features))
    distance = squared_distances(features, features)
    distance.fill_diagonal_(torch.inf)
    assert torch.equal(rows[:, 0], distance.argmin(dim=1))
    two, _ = nearest(features[:3], features[:2], 2, left_out=torch.tensor([[0], [1], [0]]))
    assert torch.isinf(two[:, 1]).all(), "one reference is all that is left"


def test_unit_features_have_length_one_and_a_direction() -> None:
    features = torch.tensor([[3.0, 4.0], [0.0, 1e-30]], dtype=torch.float64)
    assert unit_features(features, what="here").tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 1]]
    with pytest.raises(DgaugError, match="here: a feature is zero everywhere"):
        unit_features(torch.zeros(1, 2), what="here")


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (np.zeros((3, 4)), "real features of 5 numbers and generated ones of 4"),
        (np.zeros((0, 5)), r"generated features must be \[N, D\]"),
        (np.full((3, 5), np.inf), "generated features hold NaN or infinity"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(second: NDArray[np.float64], message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        comparable_features(cloud(0, 3), second, what="here")
