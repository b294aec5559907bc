"""Ranking scores of a re-id model (CMC, mAP, mINP) under the two conventions in use, from one sorting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dgaug.data.records import UNKNOWN_CAMERA
from dgaug.errors import DgaugError

Array: TypeAlias = "npt.NDArray[Any] | Tensor"
Integers: TypeAlias = "npt.NDArray[Any] | Tensor | Sequence[int]"

JUNK_IDENTITY = -1
DISTRACTOR_IDENTITY = 0
CMC_RANKS = (1, 5, 10)
# Bounds the memory of one chunk of queries: about 40 bytes for each query-gallery cell.
CELLS_PER_CHUNK = 4_000_000
SCORE_BITS = 40


@dataclass(frozen=True)
class _Side:
    """Query or gallery: features float64 [N, D], identities int64 [N], cameras int64 [N] or none."""

    features: Tensor
    identities: Tensor
    cameras: Tensor | None

    def rows(self, start: int, stop: int) -> _Side:
        cameras = None if self.cameras is None else self.cameras[start:stop]
        return _Side(self.features[start:stop], self.identities[start:stop], cameras)


@dataclass(frozen=True)
class _PerQuery:
    """What the ranking of each query gives, float64 [Q]; a query without a match has 0, and an infinite first rank."""

    first_rank: Tensor
    average_precision: Tensor
    trapezoid_precision: Tensor
    inverse_penalty: Tensor


def evaluate_ranking(
    query_features: Array,
    query_ids: Integers,
    query_cameras: Integers | None,
    gallery_features: Array,
    gallery_ids: Integers,
    gallery_cameras: Integers | None,
) -> dict[str, float | int]:
    """Rank the gallery for every query by inner product and score the rankings under both conventions.

    Features are [Q, D] and [G, D]; identities and cameras are integers [Q] and [G]. Scores descend, and equal
    scores keep the gallery's order. Gallery identity -1 is junk and leaves every ranking, as does the query's own
    identity under the query's own camera; without cameras (`None` on both sides), or where a camera is unknown (-1),
    this second rule is off. Identity 0 (a distractor) is an ordinary negative for every query of another identity.

    `trapezoid_all_queries/…` is the published DG-Net evaluation: trapezoid AP, and a query without a match counts as
    0. `sum_valid_queries/…` is that of most later toolboxes: AP as the mean of precisions, over the queries that have
    a match. Each has R1, R5, R10, mAP and mINP (Ye et al., TPAMI 2021, section 3.3) in 0..1; beside them stand the
    counts `queries`, `valid_queries`, `gallery`, `junk` and `distractors`.

    Inner products are taken in float64 on the features' device, and count as equal within 2^-40 of the largest
    possible one, so that two equal pictures tie however the matrix product was cut.

    Raises:
        DgaugError: shapes that do not fit, NaN or infinite features, cameras on one side only, or no query with a
            match.
    """
    if (query_cameras is None) != (gallery_cameras is None):
        raise DgaugError("ranking: cameras are given for one of query and gallery only; give both, or None for both")
    query = _read_side("query", query_features, query_ids, query_cameras)
    gallery = _read_side("gallery", gallery_features, gallery_ids, gallery_cameras, device=query.features.device)
    if query.features.shape[1] != gallery.features.shape[1]:
        raise DgaugError(
            f"ranking: query features have {query.features.shape[1]} numbers each and gallery features "
            f"{gallery.features.shape[1]}; both must come from the same model"
        )
    rows = max(1, CELLS_PER_CHUNK // len(gallery.identities))
    starts = range(0, len(query.identities), rows)
    chunks = [_rank_queries(query.rows(start, start + rows), gallery) for start in starts]
    return _summary(_concatenate(chunks)) | {
        "gallery": len(gallery.identities),
        "junk": int((gallery.identities == JUNK_IDENTITY).sum()),
        "distractors": int((gallery.identities == DISTRACTOR_IDENTITY).sum()),
    }


def _read_side(
    side: str, features: Array, identities: Integers, cameras: Integers | None, *, device: torch.device | None = None
) -> _Side:
    values = torch.as_tensor(features)
    if values.ndim != 2 or values.shape[0] == 0:
        raise DgaugError(f"ranking: {side} features must be [N, D] with N at least 1, found {list(values.shape)}")
    # Apple's GPUs have no float64.
    home = device or (torch.device("cpu") if values.device.type == "mps" else values.device)
    values = values.detach().to(home, torch.float64)
    broken = ~torch.isfinite(values).all(dim=1)
    if broken.any():
        raise DgaugError(
            f"ranking: {int(broken.sum())} of {len(values)} {side} features hold NaN or infinity, the first in row "
            f"{int(broken.nonzero()[0])}; the model that made them has diverged or read a damaged picture"
        )
    count = len(values)
    known = None if cameras is None else _read_integers(f"{side} cameras", cameras, count, home)
    return _Side(values, _read_integers(f"{side} identities", identities, count, home), known)


def _read_integers(what: str, values: Integers, count: int, device: torch.device) -> Tensor:
    array = values if isinstance(values, Tensor) else np.asarray(values)
    if isinstance(array, np.ndarray) and array.dtype.kind not in "iu":
        raise DgaugError(f"ranking: {what} must be integers, found {array.dtype}")
    tensor = torch.as_tensor(array)
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype == torch.bool:
        raise DgaugError(f"ranking: {what} must be integers, found {tensor.dtype}")
    if tuple(tensor.shape) != (count,):
        raise DgaugError(f"ranking: expected {count} {what}, one for each feature, found shape {list(tensor.shape)}")
    return tensor.to(device, torch.int64)


def _rank_queries(query: _Side, gallery: _Side) -> _PerQuery:
    order = _scores(query.features, gallery.features).sort(dim=1, descending=True, stable=True).indices
    same_identity = query.identities[:, None] == gallery.identities
    removed = (gallery.identities == JUNK_IDENTITY).expand_as(same_identity)
    if query.cameras is not None and gallery.cameras is not None:
        same_camera = (query.cameras[:, None] == gallery.cameras) & (gallery.cameras != UNKNOWN_CAMERA)
        removed = removed | (same_identity & same_camera)
    match = (same_identity & ~removed).gather(1, order)
    position = (~removed).gather(1, order).cumsum(dim=1)
    row, column = match.nonzero(as_tuple=True)
    rank = position[row, column].double()
    hits = match.cumsum(dim=1)[row, column].double()
    return _score_matches(row, rank, hits, match.sum(dim=1).double())


def _scores(query: Tensor, gallery: Tensor) -> Tensor:
    """Inner products [Q, G] as whole numbers of 2^-SCORE_BITS of the largest possible one, so that equals tie."""
    bound = query.norm(dim=1, keepdim=True) * gallery.norm(dim=1).max()
    return (query @ gallery.T).mul_(2.0**SCORE_BITS / bound.clamp_min(1e-200)).round_()


def _score_matches(row: Tensor, rank: Tensor, hits: Tensor, matches: Tensor) -> _PerQuery:
    """Score each query from its matches, listed as query row, rank (from 1) and matches up to there, all [M]."""
    precision = hits / rank
    # Before the first item of the ranking precision is 1 by convention (method of the Oxford buildings benchmark).
    before = torch.where(rank == 1, 1.0, (hits - 1) / (rank - 1).clamp_min(1))
    zeros = torch.zeros_like(matches)
    divisor = matches.clamp_min(1)
    last_rank = zeros.scatter_reduce(0, row, rank, "amax")
    return _PerQuery(
        first_rank=torch.full_like(matches, torch.inf).scatter_reduce(0, row, rank, "amin"),
        average_precision=zeros.index_add(0, row, precision) / divisor,
        trapezoid_precision=zeros.index_add(0, row, (before + precision) / 2) / divisor,
        inverse_penalty=matches / last_rank.clamp_min(1),
    )


def _concatenate(chunks: list[_PerQuery]) -> _PerQuery:
    return _PerQuery(
        first_rank=torch.cat([chunk.first_rank for chunk in chunks]),
        average_precision=torch.cat([chunk.average_precision for chunk in chunks]),
        trapezoid_precision=torch.cat([chunk.trapezoid_precision for chunk in chunks]),
        inverse_penalty=torch.cat([chunk.inverse_penalty for chunk in chunks]),
    )


def _single(value: float) -> float:
    """Round as those toolboxes do, which count CMC (not AP) in single precision: equal digits, 3e-8 from the ratio."""
    return float(np.float32(value))


def _summary(scores: _PerQuery) -> dict[str, float | int]:
    queries = len(scores.first_rank)
    valid = int(scores.first_rank.isfinite().sum())
    if valid == 0:
        raise DgaugError(
            f"ranking: none of the {queries} queries has a gallery picture of its identity from another camera; "
            "check that query and gallery share identities, and leave the cameras out (None) if they say nothing"
        )
    result: dict[str, float | int] = {}
    conventions = (
        ("trapezoid_all_queries", scores.trapezoid_precision, queries),
        ("sum_valid_queries", scores.average_precision, valid),
    )
    for convention, precision, denominator in conventions:
        for rank in CMC_RANKS:
            found = int((scores.first_rank <= rank).sum()) / denominator
            result[f"{convention}/R{rank}"] = _single(found) if convention == "sum_valid_queries" else found
        result[f"{convention}/mAP"] = float(precision.sum()) / denominator
        result[f"{convention}/mINP"] = float(scores.inverse_penalty.sum()) / denominator
    return result | {"queries": queries, "valid_queries": valid}
