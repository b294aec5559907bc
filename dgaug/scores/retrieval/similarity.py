"""How alike queries and gallery images are: float64 scores of several weightings from one set of products."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dgaug.errors import DgaugError

METRICS = ("inner", "cosine", "euclidean")
SCORE_BITS = 40
Floats = NDArray[np.float64]
Weightings = Mapping[str, Sequence[float]]
"""By name, one weight for each of the equal parts of a feature; none is negative."""


class ScoredQueries(NamedTuple):
    """Some queries' scores of the gallery under one weighting.

    Attributes:
        name: of the weighting.
        scores: float64 [q, G], the better the higher; the reader may write into it.
        resolution: float64 [q], powers of two; scores of a query in the same multiple of it are equal.
    """

    name: str
    scores: Floats
    resolution: Floats


Scorer = Callable[[slice], Iterator[ScoredQueries]]
"""The scores of a range of queries, weighting after weighting; each is used up before the next is asked for."""


def require_metric(metric: str) -> None:
    """Refuse a metric that is not one of `METRICS`.

    Raises:
        DgaugError: names those that are.
    """
    if metric not in METRICS:
        raise DgaugError(f"unknown metric {metric!r}; known are {', '.join(METRICS)}")


def resolution(bound: Floats) -> Floats:
    """2^-SCORE_BITS of a bound of the scores, rounded up to a power of two: dividing by it is exact."""
    exponent: Floats = np.ceil(np.log2(np.maximum(bound, 1e-200)))
    return np.exp2(exponent - SCORE_BITS)


def multiples(scores: Floats, resolution: float | Floats) -> Floats:
    """Which multiple of the resolution a score is counted as."""
    return np.floor(scores / resolution + 0.5)


class WeightedScores:
    """A `Scorer` of features whose parts are weighted: sum over parts of weight x score of the part.

    The score of a part is its inner product, its cosine (0 for a zero vector), or minus half its squared Euclidean
    distance, with the gallery's mean taken off first, so that an offset that all features share costs no digits.

    Args:
        query: float64 [Q, D].
        gallery: float64 [G, D] on the same device, which computes.
        weightings: each with one weight for each of the parts that D is cut into.
        metric: one of `METRICS`.
    """

    def __init__(self, query: Tensor, gallery: Tensor, weightings: Weightings, *, metric: str = "inner") -> None:
        require_metric(metric)
        self._weightings = weightings
        count = len(next(iter(weightings.values())))
        sides = zip(query.chunk(count, dim=1), gallery.chunk(count, dim=1), strict=True)
        self._parts = [_Part(*part, metric) for part in sides]

    def __call__(self, rows: slice) -> Iterator[ScoredQueries]:
        """The scores of these queries under each weighting."""
        used = {k for weights in self._weightings.values() for k, weight in enumerate(weights) if weight}
        products = {k: self._parts[k].scores(rows) for k in sorted(used)}
        for name, weights in self._weightings.items():
            (first, weight), *others = [(k, weight) for k, weight in enumerate(weights) if weight]
            total = products[first] * weight
            bound = weight * self._parts[first].bound[rows]
            for k, weight in others:
                total.add_(products[k], alpha=weight)
                bound += weight * self._parts[k].bound[rows]
            yield ScoredQueries(name, total.cpu().numpy(), resolution(bound))


class _Part:
    """One part of the features under a metric; `bound` [Q] is what no score exceeds in absolute value."""

    def __init__(self, query: Tensor, gallery: Tensor, metric: str) -> None:
        if metric == "cosine":
            query, gallery = functional.normalize(query, dim=1), functional.normalize(gallery, dim=1)
        if metric == "euclidean":
            centre = gallery.mean(dim=0)
            query, gallery = query - centre, gallery - centre
        self._query, self._gallery = query, gallery
        lengths = query.norm(dim=1), gallery.norm(dim=1)
        self._halves = [length.square() / 2 for length in lengths] if metric == "euclidean" else None
        bound = lengths[0] * lengths[1].max()
        if self._halves is not None:
            bound += self._halves[0] + self._halves[1].max()
        self.bound: Floats = bound.cpu().numpy()

    def scores(self, rows: slice) -> Tensor:
        query = self._query[rows]
        if self._halves is None:
            return query @ self._gallery.T
        of_query, of_gallery = self._halves
        return torch.addmm(of_gallery, query, self._gallery.T, beta=-1).sub_(of_query[rows, None])
