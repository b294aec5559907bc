"""Soft labels as a store keeps them: the most probable classes and the mass left over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dgaug.store.schema import LABEL_TOLERANCE, TOP, label_classes

# Rows of float32 softmax sum to one far better than this; what does not is no softmax.
SUM_TOLERANCE = LABEL_TOLERANCE / 2


class TopLabels(NamedTuple):
    """The K most probable classes of M images.

    Attributes:
        classes: uint16 (uint32 above 65,535 classes) [M, K], most probable first, ties to the lower class.
        probability: float16 [M, K].
        rest: float16 [M], the mass of all other classes together.
    """

    classes: NDArray[np.unsignedinteger]
    probability: NDArray[np.float16]
    rest: NDArray[np.float16]


def top_labels(probabilities: NDArray[np.floating], k: int = TOP) -> TopLabels:
    """The top K = min(k, C) of probabilities [M, C]; the kept and the rest sum to one within 2e-3.

    Order and ties are those of the float16 values that are stored, so that a reader of the store sees them hold.
    Raises ValueError where a row is not a distribution.
    """
    rounded = half_precision(probabilities)
    count = rounded.shape[1]
    kept = min(k, count)
    classes = np.argsort(-rounded, axis=1, kind="stable")[:, :kept]
    probability = np.take_along_axis(rounded, classes, axis=1)
    rest = np.maximum(1.0 - probability.sum(axis=1, dtype=np.float64), 0.0)
    if kept == count:
        rest[:] = 0.0
    return TopLabels(classes.astype(label_classes(count)), probability, rest.astype(np.float16))


def half_precision(probabilities: NDArray[np.floating]) -> NDArray[np.float16]:
    """Probabilities [M, C] as `label/dense` keeps them; ValueError where a row is not a distribution."""
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if probabilities.ndim != 2 or not (np.abs(sums - 1.0) <= SUM_TOLERANCE).all() or (probabilities < 0).any():
        raise ValueError(f"expected distributions [M, C] that sum to one, found sums {sums.min()} to {sums.max()}")
    return probabilities.astype(np.float16)


def dense_labels(labels: TopLabels, class_count: int) -> NDArray[np.float32]:
    """Distributions [M, C] from top labels, the rest spread evenly over the other classes."""
    kept = labels.classes.shape[1]
    others = max(class_count - kept, 1)
    dense = np.repeat(labels.rest.astype(np.float32)[:, None] / others, class_count, axis=1)
    np.put_along_axis(dense, labels.classes.astype(np.int64), labels.probability.astype(np.float32), axis=1)
    return dense


def stored_label(columns: Mapping[str, NDArray[Any]], place: int, *, kind: str) -> TopLabels:
    """The label in a row of a store's columns as top labels of one image; [1, 0] classes for the kind `none`."""
    rows = slice(place, place + 1)
    if kind == "top":
        return TopLabels(*(columns[f"label/{name}"][rows] for name in ("class", "probability", "rest")))
    if kind == "dense":
        return top_labels(columns["label/dense"][rows].astype(np.float32))
    return TopLabels(np.zeros((1, 0), np.uint16), np.zeros((1, 0), np.float16), np.zeros(1, np.float16))


def stored_dense_label(
    columns: Mapping[str, NDArray[Any]], place: int, *, kind: str, class_count: int
) -> NDArray[np.float32]:
    """The label in a row of a store's columns as a distribution [C]."""
    if kind == "dense":
        return np.asarray(columns["label/dense"][place].astype(np.float32))
    return np.asarray(dense_labels(stored_label(columns, place, kind=kind), class_count)[0])
