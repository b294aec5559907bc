"""k-reciprocal re-ranking (Zhong et al., CVPR 2017), with memory bounded by chunks and sparse matrices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent
from dgaug.scores.retrieval.similarity import Floats, ScoredQueries, WeightedScores, Weightings, multiples, resolution

CELLS_PER_CHUNK = 4_000_000
PAIRS_PER_CHUNK = 4_000

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Reranking:
    """Its parameters; the defaults are those of the paper (section 4.1), which most toolboxes kept.

    Attributes:
        k1: how many neighbours may be reciprocal.
        k2: over how many neighbours encodings are averaged; 1 leaves them as they are.
        original: weight of the original distance against the Jaccard distance ("lambda").
    """

    k1: int = 20
    k2: int = 6
    original: float = 0.3

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.original <= 1:
            raise DgaugError(
                f"re-ranking: expected k1 and k2 of at least 1 and lambda in 0..1, found k1 {self.k1}, k2 {self.k2}, "
                f"lambda {self.original}"
            )


class RerankedScores:
    """A `Scorer` of re-ranked distances: queries and gallery taken together decide who is whose neighbour.

    The distance between images is the squared Euclidean one, in shares of the largest from the same image, as in
    the paper's published code. An image is its own first neighbour; other equal distances keep the order, queries
    first, then gallery.

    Args:
        query: float64 [Q, D].
        gallery: float64 [G, D] on the same device; junk must have left it, or it takes part in the decision.
        weightings: as of `WeightedScores`.
        parameters: k1, k2 and lambda.
        progress: told how many images have found their neighbours.
    """

    def __init__(
        self,
        query: Tensor,
        gallery: Tensor,
        weightings: Weightings,
        *,
        parameters: Reranking | None = None,
        progress: Progress = silent,
    ) -> None:
        self._parameters = parameters or Reranking()
        self._queries = len(query)
        self._distances = WeightedScores(query, gallery, weightings, metric="euclidean")
        images = torch.cat([query, gallery])
        nearest, self._farthest = _neighbours(images, weightings, self._parameters, progress)
        self._encodings = {
            name: _encode(images, nearest[name], self._farthest[name], weightings[name], self._parameters)
            for name in weightings
        }
        self._by_column = {name: rows[self._queries :].tocsc() for name, rows in self._encodings.items()}

    def __call__(self, rows: slice) -> Iterator[ScoredQueries]:
        """Minus the re-ranked distances, which lie in 0..1, of these queries under each weighting."""
        for name, scores, _ in self._distances(rows):
            original = np.maximum(-2 * scores, 0) / self._farthest[name][rows, None]
            weight = self._parameters.original
            jaccard = _jaccard(self._encodings[name][rows], self._by_column[name])
            yield ScoredQueries(name, -(weight * original + (1 - weight) * jaccard), resolution(np.ones(len(scores))))


def _neighbours(
    images: Tensor, weightings: Weightings, parameters: Reranking, progress: Progress
) -> tuple[dict[str, Numbers], dict[str, Floats]]:
    """The nearest images [N, k] of each, itself among them, and its squared distance to the farthest [N]."""
    count = len(images)
    wanted = min(max(parameters.k1 + 1, parameters.k2), count)
    nearest = {name: np.empty((count, wanted), dtype=np.int64) for name in weightings}
    farthest = {name: np.empty(count) for name in weightings}
    scorer = WeightedScores(images, images, weightings, metric="euclidean")
    step = max(1, CELLS_PER_CHUNK // count)
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        for name, scores, grain in scorer(rows):
            # Where all images are one and the same, there is no far one to divide by.
            farthest[name][rows] = np.maximum(-2 * scores.min(axis=1), grain)
            scores[np.arange(len(scores)), np.arange(start, rows.stop)] = np.inf
            nearest[name][rows] = _highest(scores, wanted, grain)
        progress("neighbours", rows.stop, count)
    return nearest, farthest


def _highest(scores: Floats, wanted: int, grain: Floats) -> Numbers:
    """Columns [n, wanted] of the highest scores [n, N], descending; equal ones in the order of the columns."""
    values, columns = (
        nearest_columns.cpu().numpy()
        for nearest_columns in torch.topk(torch.from_numpy(scores), min(wanted + 1, scores.shape[1]), dim=1)
    )
    counted = multiples(values, grain[:, None])
    order = np.lexsort((columns, -counted))
    nearest_columns = np.take_along_axis(columns, order, axis=1)[:, :wanted]
    if counted.shape[1] > wanted:
        # More may tie with the last than were looked at.
        for row in np.flatnonzero(counted[:, wanted - 1] == counted[:, wanted]):
            nearest_columns[row] = np.argsort(-multiples(scores[row], grain[row]), kind="stable")[:wanted]
    return np.asarray(nearest_columns)


def _encode(
    images: Tensor, nearest: Numbers, farthest: Floats, weights: Sequence[float], parameters: Reranking
) -> sparse.csr_array:
    """Each image as weights over its expanded k-reciprocal neighbours [N, N], averaged over k2 neighbours."""
    wide = _reciprocal(nearest[:, : parameters.k1 + 1])
    narrow = _reciprocal(nearest[:, : round(parameters.k1 / 2) + 1])
    sizes = np.asarray(narrow.sum(axis=1)).ravel()
    # Image by neighbour: how many of the neighbour's own are among the image's.
    shared = (wide @ narrow.T).multiply(wide).tocoo()
    # Those of a neighbour are adopted where more than two thirds of them are shared.
    taken = 3 * shared.data > 2 * sizes[shared.col]
    adopted = sparse.csr_array((np.ones(taken.sum()), (shared.row[taken], shared.col[taken])), shape=wide.shape)
    members = (wide + adopted @ narrow).tocoo()
    distances = _pair_distances(images, members.row, members.col, weights) / farthest[members.row]
    encoding = sparse.csr_array((np.exp(-distances), (members.row, members.col)), shape=wide.shape)
    encoding = sparse.diags_array(1 / np.asarray(encoding.sum(axis=1)).ravel()) @ encoding
    if parameters.k2 > 1:
        encoding = _membership(nearest[:, : parameters.k2]) @ encoding / min(parameters.k2, nearest.shape[1])
    return sparse.csr_array(encoding)


def _membership(columns: Numbers) -> sparse.csr_array:
    count, width = columns.shape
    rows = np.repeat(np.arange(count), width)
    return sparse.csr_array((np.ones(count * width), (rows, columns.ravel())), shape=(count, count))


def _reciprocal(nearest: Numbers) -> sparse.csr_array:
    """1 where each of two images is among the nearest of the other."""
    one_way = _membership(nearest)
    return sparse.csr_array(one_way.multiply(one_way.T))


def _pair_distances(images: Tensor, rows: Numbers, columns: Numbers, weights: Sequence[float]) -> Floats:
    """Squared Euclidean distances [n] of single pairs, parts weighted."""
    scale = images.new_tensor(weights).repeat_interleave(images.shape[1] // len(weights))
    nearest_columns = np.empty(len(rows))
    for start in range(0, len(rows), PAIRS_PER_CHUNK):
        pairs = slice(start, start + PAIRS_PER_CHUNK)
        one, other = (torch.from_numpy(side[pairs].astype(np.int64)).to(images.device) for side in (rows, columns))
        nearest_columns[pairs] = ((images[one] - images[other]).square_() @ scale).cpu().numpy()
    return nearest_columns


def _jaccard(queries: sparse.csr_array, gallery: sparse.csc_array) -> Floats:
    """Jaccard distances [q, G] of encodings [q, N] and [G, N] whose rows sum to one."""
    count = gallery.shape[0]
    nearest_columns = np.empty((queries.shape[0], count))
    for row in range(len(nearest_columns)):
        own = slice(queries.indptr[row], queries.indptr[row + 1])
        first, end = (gallery.indptr[queries.indices[own] + step] for step in (0, 1))
        lengths = end - first
        places = np.repeat(end - np.cumsum(lengths), lengths) + np.arange(lengths.sum())
        least = np.minimum(np.repeat(queries.data[own], lengths), gallery.data[places])
        common = np.bincount(gallery.indices[places], least, count)
        nearest_columns[row] = 1 - common / (2 - common)
    return nearest_columns
