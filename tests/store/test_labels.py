from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dgaug.store.labels import dense_labels, half_precision, top_labels


@st.composite
def distributions(draw: st.DrawFn) -> NDArray[np.float32]:
    """Rows over 1 to 300 classes, from certain to flat, with ties."""
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 300))
    scores = draw(hnp.arrays(np.float64, shape, elements=st.integers(-40, 40).map(lambda step: step / 4)))
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


@settings(max_examples=40, deadline=None)
@given(distributions())
def test_kept_and_left_over_sum_to_one(probabilities: NDArray[np.float32]) -> None:
    labels = top_labels(probabilities)
    total = labels.probability.astype(np.float64).sum(axis=1) + labels.rest
    assert np.abs(total - 1).max() <= 2e-3
    dense = dense_labels(labels, probabilities.shape[1])
    assert dense.shape == probabilities.shape
    assert np.abs(dense.astype(np.float64).sum(axis=1) - 1).max() <= 2e-3


@settings(max_examples=40, deadline=None)
@given(distributions())
def test_the_most_probable_classes_are_kept_in_order(probabilities: NDArray[np.float32]) -> None:
    labels = top_labels(probabilities)
    rounded = probabilities.astype(np.float16)
    for row, classes in zip(rounded, labels.classes, strict=True):
        order = sorted(range(len(row)), key=lambda name: (-row[name], name))
        assert classes.tolist() == order[:10]


@settings(max_examples=40, deadline=None)
@given(distributions())
def test_dense_labels_differ_from_the_teacher_by_no_more_than_the_mass_left_over(
    probabilities: NDArray[np.float32],
) -> None:
    labels = top_labels(probabilities)
    error = np.abs(dense_labels(labels, probabilities.shape[1]) - probabilities).sum(axis=1)
    assert (error <= 2 * labels.rest.astype(np.float64) + 4e-3).all()


@settings(max_examples=40, deadline=None)
@given(distributions())
def test_half_precision_rows_sum_to_one(probabilities: NDArray[np.float32]) -> None:
    assert np.abs(half_precision(probabilities).astype(np.float64).sum(axis=1) - 1).max() <= 2e-3


def test_class_numbers_are_as_wide_as_the_number_of_classes_needs() -> None:
    for count, dtype in ((751, np.uint16), (65_535, np.uint16), (65_536, np.uint32)):
        certain = np.zeros((1, count), np.float32)
        certain[0, -1] = 1
        labels = top_labels(certain)
        assert labels.classes.dtype == dtype
        assert labels.classes[0, :3].tolist() == [count - 1, 0, 1]


def test_few_classes_are_all_kept_and_nothing_is_left_over() -> None:
    labels = top_labels(np.array([[0.2, 0.5, 0.3]], np.float32))
    assert labels.classes.tolist() == [[1, 2, 0]]
    assert labels.rest.tolist() == [0]


@pytest.mark.parametrize("row", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]])
def test_what_is_no_distribution_is_refused(row: list[float]) -> None:
    with pytest.raises(ValueError, match="distributions"):
        top_labels(np.array([row], np.float32))
