"""How alike queries and gallery pictures are: float64 scores of several weightings from one set of products."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

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
"""By name, one weight for each of the equal parts of a feature."""


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


class Scorer(Protocol):
    """Gives the scores of a range of queries, weighting after weighting."""

    def __call__(self, rows: slice) -> Iterator[ScoredQueries]:
        """Each result is used up before the next is asked for."""
        ...


def require_metric(metric: str) -> None:
    """Refuse a metric that is not one of `METRICS`.

    Raises:
        DgaugError: names those that are.
    """
    if metric not in METRICS:
        raise DgaugError(f"unknown metric {metric!r}; known are {', '.join(METRICS)}")


def resolution(bound: Floats) -> Floats:
    """2^-SCORE_BITS of a bound of the scores, rounded up to a power of two: dividing by it is exact."""
    return np.exp2(np.ceil(np.log2(np.maximum(bound, 1e-200))) - SCORE_BITS)


class WeightedScores:
    """A `Scorer` of features whose parts are weighted: sum over parts of weight x score of the part.

    The score of a part is its inner product, its cosine (0 for a zero vector), or minus half its squared Euclidean
    distance up to a constant of the query, with the gallery's mean taken off first, so that an offset that all
    features share costs no digits.

    Args:
        query: float64 [Q, D].
        gallery: float64 [G, D] on the same device, which computes.
        weightings: each with one weight for each of the parts that D is cut into; weights are not negative.
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
            total = torch.zeros_like(next(iter(products.values())))
            bound = np.zeros(len(total))
            for k, weight in enumerate(weights):
                if weight:
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
        self._penalty = gallery.square().sum(dim=1) / 2 if metric == "euclidean" else None
        bound = query.norm(dim=1) * gallery.norm(dim=1).max()
        if self._penalty is not None:
            bound = bound + self._penalty.max()
        self.bound: Floats = bound.cpu().numpy()

    def scores(self, rows: slice) -> Tensor:
        query = self._query[rows]
        if self._penalty is None:
            return query @ self._gallery.T
        return torch.addmm(self._penalty, query, self._gallery.T, beta=-1)
