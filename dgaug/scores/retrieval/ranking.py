"""Ranking scores of a re-id model (CMC, mAP, mINP) under the two conventions in use, from one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dgaug.data.records import UNKNOWN_CAMERA
from dgaug.errors import DgaugError
from dgaug.scores.retrieval.copies import Copies, equal_rows
from dgaug.scores.retrieval.similarity import Floats, Scorer, WeightedScores, multiples

Array: TypeAlias = "npt.NDArray[Any] | Tensor"
Integers: TypeAlias = "npt.NDArray[Any] | Tensor | Sequence[int]"
Numbers = npt.NDArray[np.int64]
Ranking = dict[str, float | int]
RanksOfQuery = Callable[[int, Floats, float], Numbers]
"""Query, its scores [G] and their resolution, to ranks from 1 on, ascending."""

JUNK_IDENTITY = -1
DISTRACTOR_IDENTITY = 0
CMC_RANKS = (1, 5, 10)
# Bounds the memory of one chunk of queries: 8 bytes a cell for each part, and for their sum.
CELLS_PER_CHUNK = 8_000_000


@dataclass(frozen=True)
class Side:
    """Query or gallery: features float64 [N, D], identities [N], cameras [N] (`UNKNOWN_CAMERA` where not known)."""

    features: Tensor
    identities: Numbers
    cameras: Numbers

    def only(self, rows: Numbers) -> Side:
        """Some rows of it."""
        kept = torch.from_numpy(rows).to(self.features.device)
        return Side(self.features[kept], self.identities[rows], self.cameras[rows])


@dataclass(frozen=True)
class PerQuery:
    """What the ranking of each query gives, float64 [Q]; a query without a match has 0, and an infinite first rank."""

    first_rank: Floats
    average_precision: Floats
    trapezoid_precision: Floats
    inverse_penalty: Floats

    @property
    def valid(self) -> Numbers:
        """The queries that have a match."""
        return np.flatnonzero(np.isfinite(self.first_rank))


class Retrieval:
    """Query and gallery without its junk, and which images of the gallery are whose matches.

    Args:
        query: [Q].
        gallery: [G].
        same_files: the gallery's rows whose files are a query's own; rows with its features are found here.

    Attributes:
        query: [Q].
        gallery: [G'], the gallery's images that are not junk.
        kept: [G'], their rows in the whole gallery.
        counts: `gallery`, `junk`, `distractors`, and where there are some `copies`: images that leave a ranking only
            because they are a copy of its query, summed over queries.
        same_file: how many of `copies` are the query's own file.
        same_features: how many have its features to the last bit.
    """

    def __init__(self, query: Side, gallery: Side, same_files: Copies | None = None) -> None:
        if query.features.shape[1] != gallery.features.shape[1]:
            raise DgaugError(
                f"ranking: query features have {query.features.shape[1]} numbers each and gallery features "
                f"{gallery.features.shape[1]}; both must come from the same model"
            )
        self.query = query
        self.kept = np.flatnonzero(gallery.identities != JUNK_IDENTITY)
        if len(self.kept) == 0:
            raise DgaugError(
                f"ranking: none of the {len(query.identities)} queries has a match, because all of the gallery is junk "
                "(identity -1)"
            )
        self.gallery = gallery.only(self.kept)
        self.counts = {
            "gallery": len(gallery.identities),
            "junk": len(gallery.identities) - len(self.kept),
            "distractors": int((gallery.identities == DISTRACTOR_IDENTITY).sum()),
        }
        self._by_identity = np.argsort(self.gallery.identities, kind="stable")
        ascending = self.gallery.identities[self._by_identity]
        self._first, self._end = (np.searchsorted(ascending, query.identities, side) for side in ("left", "right"))
        self._copies: dict[int, Numbers] = {}
        self.same_file = self._add_copies({} if same_files is None else self._columns(same_files))
        self.same_features = self._add_copies(equal_rows(query.features, self.gallery.features))
        if self.same_file or self.same_features:
            self.counts["copies"] = self.same_file + self.same_features

    def matches(self, query: int) -> tuple[Numbers, Numbers]:
        """Columns of a query's matches, and of the images that leave its ranking, both ascending."""
        columns = self._by_identity[self._first[query] : self._end[query]]
        camera = self.query.cameras[query]
        leaves = (self.gallery.cameras[columns] == camera) & (camera != UNKNOWN_CAMERA)
        removed = columns[leaves]
        if query in self._copies:
            leaves |= np.isin(columns, self._copies[query])
            removed = np.union1d(removed, self._copies[query])
        return columns[~leaves], removed

    def _columns(self, rows: Copies) -> Copies:
        """Rows of the whole gallery as columns without its junk."""
        column = np.full(self.counts["gallery"], -1)
        column[self.kept] = np.arange(len(self.kept))
        return {query: column[places][column[places] >= 0] for query, places in rows.items()}

    def _add_copies(self, copies: Copies) -> int:
        """Let them leave their queries' rankings; how many were in them until now."""
        added = 0
        for query, columns in copies.items():
            _, removed = self.matches(query)
            new = np.setdiff1d(columns, removed)
            if len(new):
                self._copies[query] = np.union1d(self._copies.get(query, new), new)
                added += len(new)
        return added

    def ranks(self, query: int, scores: Floats, resolution: float) -> Numbers:
        """Ranks of a query's matches, ascending; `scores` [G'] of what leaves its ranking are overwritten."""
        matches, removed = self.matches(query)
        if len(matches) == 0:
            return matches
        scores[removed] = -np.inf
        return np.sort(ranks_at(scores, matches, resolution))

    def ranking(self, query: int, scores: Floats, resolution: float) -> tuple[Numbers, npt.NDArray[np.bool_]]:
        """A query's ranking, best first: columns without those that leave it, and which of them match."""
        matches, removed = self.matches(query)
        order = np.argsort(-multiples(scores, resolution), kind="stable")
        order = order[~np.isin(order, removed)]
        return order, np.isin(order, matches)


def evaluate_ranking(
    query_features: Array,
    query_ids: Integers,
    query_cameras: Integers | None,
    gallery_features: Array,
    gallery_ids: Integers,
    gallery_cameras: Integers | None,
    *,
    metric: str = "inner",
) -> Ranking:
    """Rank the gallery for every query and score the rankings under both conventions.

    Features are [Q, D] and [G, D]; identities and cameras are integers [Q] and [G]. Scores descend, and equal
    scores keep the gallery's order. Gallery identity -1 is junk and leaves every ranking, as does the query's own
    identity under the query's own camera; without cameras (`None` on both sides), or where a camera is unknown (-1),
    this second rule is off. Identity 0 (a distractor) is an ordinary negative for every query of another identity.
    A gallery row that equals the query's features to the last bit is taken for the query's own image and leaves its
    ranking; not so whole numbers (hash codes), and not where all of the gallery equals the query.

    `trapezoid_all_queries/…` is the published DG-Net evaluation: trapezoid AP, and a query without a match counts as
    0. `sum_valid_queries/…` is that of most later toolboxes: AP as the mean of precisions, over the queries that have
    a match. Each has R1, R5, R10, mAP and mINP (Ye et al., TPAMI 2021, section 3.3) in 0..1; beside them stand the
    counts `queries`, `valid_queries`, `queries_without_match`, `gallery`, `junk` and `distractors`, and `copies` where
    gallery rows left a ranking as copies of its query.

    `metric` is `inner` (product), `cosine` or `euclidean` (nearest first). Scores are taken in float64 on the
    features' device, and count as equal within 2^-40 of the largest possible one, so that two equal images tie
    however the matrix product was cut.

    Raises:
        DgaugError: shapes that do not fit, NaN or infinite features, cameras on one side only, an unknown metric, or
            no query with a match.
    """
    retrieval = read_retrieval(query_features, query_ids, query_cameras, gallery_features, gallery_ids, gallery_cameras)
    scorer = WeightedScores(retrieval.query.features, retrieval.gallery.features, {"": (1.0,)}, metric=metric)
    return summary(score_queries(retrieval, scorer)[""]) | retrieval.counts


def read_retrieval(
    query_features: Array,
    query_ids: Integers,
    query_cameras: Integers | None,
    gallery_features: Array,
    gallery_ids: Integers,
    gallery_cameras: Integers | None,
    *,
    same_files: Copies | None = None,
) -> Retrieval:
    """The arguments of `evaluate_ranking`, checked; `same_files` as of `Retrieval`.

    Raises:
        DgaugError: shapes that do not fit, NaN or infinite features, cameras on one side only.
    """
    if (query_cameras is None) != (gallery_cameras is None):
        raise DgaugError("ranking: cameras are given for one of query and gallery only; give both, or None for both")
    query = read_side("query", query_features, query_ids, query_cameras)
    gallery = read_side("gallery", gallery_features, gallery_ids, gallery_cameras, device=query.features.device)
    return Retrieval(query, gallery, same_files)


def read_side(
    side: str, features: Array, identities: Integers, cameras: Integers | None, *, device: torch.device | None = None
) -> Side:
    """One side of a retrieval, checked; `side` names it in errors."""
    values = torch.as_tensor(features)
    if values.ndim != 2 or values.shape[0] == 0:
        raise DgaugError(f"ranking: {side} features must be [N, D] with N at least 1, found {list(values.shape)}")
    # Apple's GPUs have no float64.
    home = device or (torch.device("cpu") if values.device.type == "mps" else values.device)
    values = values.detach().to(home)
    broken = ~torch.isfinite(values).all(dim=1)
    if broken.any():
        raise DgaugError(
            f"ranking: {int(broken.sum())} of {len(values)} {side} features hold NaN or infinity, the first in row "
            f"{int(broken.nonzero()[0])}; the model that made them has diverged or read a damaged image"
        )
    count = len(values)
    unknown = np.full(count, UNKNOWN_CAMERA)
    known = unknown if cameras is None else _read_integers(f"{side} cameras", cameras, count)
    return Side(values.double(), _read_integers(f"{side} identities", identities, count), known)


def _read_integers(what: str, values: Integers, count: int) -> Numbers:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.dtype.kind not in "iu":
        raise DgaugError(f"ranking: {what} must be integers, found {array.dtype}")
    if array.shape != (count,):
        raise DgaugError(f"ranking: expected {count} {what}, one for each feature, found shape {list(array.shape)}")
    return array.astype(np.int64)


def score_queries(retrieval: Retrieval, scorer: Scorer) -> dict[str, PerQuery]:
    """What each query's ranking gives, by weighting."""
    return {name: per_query(ranks) for name, ranks in ranks_by_query(retrieval, scorer, retrieval.ranks).items()}


def ranks_by_query(retrieval: Retrieval, scorer: Scorer, ranks: RanksOfQuery) -> dict[str, list[Numbers]]:
    """What `ranks` says of every query, by weighting, in chunks that bound the memory."""
    queries = len(retrieval.query.identities)
    rows = max(1, CELLS_PER_CHUNK // max(1, len(retrieval.kept)))
    by_name: dict[str, list[Numbers]] = {}
    for start in range(0, queries, rows):
        for name, scores, resolution in scorer(slice(start, min(start + rows, queries))):
            of_chunk = (ranks(start + k, row, resolution[k]) for k, row in enumerate(scores))
            by_name.setdefault(name, []).extend(of_chunk)
    return by_name


def ranks_at(scores: Floats, places: Numbers, resolution: float) -> Numbers:
    """Ranks from 1 of the scores at places [m] of `scores` [G]: after the higher ones, and the equal ones before."""
    low = (multiples(scores[places], resolution) - 0.5) * resolution
    high = low + resolution
    contenders = scores[scores >= low.min()]
    contenders.sort()
    higher, reached = (len(contenders) - contenders.searchsorted(bound) for bound in (high, low))
    for k in np.flatnonzero(reached - higher > 1):
        before = scores[: places[k]]
        higher[k] += np.count_nonzero((before >= low[k]) & (before < high[k]))
    return np.asarray(1 + higher, dtype=np.int64)


def per_query(ranks: Sequence[Numbers]) -> PerQuery:
    """Score each query from the ranks of its matches, ascending."""
    matches = np.array([len(query_ranks) for query_ranks in ranks], dtype=np.float64)
    row = np.repeat(np.arange(len(ranks)), matches.astype(np.int64))
    rank = np.concatenate(ranks).astype(np.float64)
    hits = np.concatenate([np.arange(1.0, len(query_ranks) + 1) for query_ranks in ranks])
    precision = hits / rank
    # Before the first item of the ranking precision is 1 by convention (method of the Oxford buildings benchmark).
    before = np.where(rank == 1, 1.0, (hits - 1) / np.maximum(rank - 1, 1))
    divisor = np.maximum(matches, 1)
    return PerQuery(
        first_rank=np.array([query_ranks[0] if len(query_ranks) else np.inf for query_ranks in ranks]),
        average_precision=np.bincount(row, precision, len(ranks)) / divisor,
        trapezoid_precision=np.bincount(row, (before + precision) / 2, len(ranks)) / divisor,
        inverse_penalty=np.array(
            [len(query_ranks) / query_ranks[-1] if len(query_ranks) else 0.0 for query_ranks in ranks]
        ),
    )


def summary(scores: PerQuery) -> Ranking:
    """The metrics of both conventions, see `evaluate_ranking`.

    Raises:
        DgaugError: no query has a match.
    """
    queries, valid = len(scores.first_rank), len(scores.valid)
    if valid == 0:
        raise DgaugError(
            f"ranking: none of the {queries} queries has a gallery image of its identity from another camera that is "
            "no copy of the query; check that query and gallery share identities, and leave the cameras out where they "
            "say nothing (None in Python)"
        )
    result: Ranking = {}
    conventions = (
        ("trapezoid_all_queries", scores.trapezoid_precision, queries),
        ("sum_valid_queries", scores.average_precision, valid),
    )
    for convention, precision, denominator in conventions:
        for rank in CMC_RANKS:
            rate = int((scores.first_rank <= rank).sum()) / denominator
            # Toolboxes of this convention count CMC (not AP) in single precision: equal digits, 3e-8 from the ratio.
            result[f"{convention}/R{rank}"] = float(np.float32(rate)) if convention == "sum_valid_queries" else rate
        result[f"{convention}/mAP"] = float(precision.sum()) / denominator
        result[f"{convention}/mINP"] = float(scores.inverse_penalty.sum()) / denominator
    return result | {"queries": queries, "valid_queries": valid, "queries_without_match": queries - valid}
