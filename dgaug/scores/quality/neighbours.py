"""Nearest neighbours among features, some rows at a time: memory does not grow with the product of two sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dgaug.errors import DgaugError

Features: TypeAlias = "Tensor | npt.NDArray[Any]"

CELLS_PER_CHUNK = 4_000_000
TIE = 2.0**-40
"""Squared distances that differ by less than this share of the squared lengths are equal: rounding, not geometry."""


def comparable_features(first: Features, second: Features, *, what: str) -> tuple[Tensor, Tensor]:
    """Two sets of features [N, D] and [M, D] in float64 on the first one's device.

    Raises:
        DgaugError: other shapes, no features, or NaN or infinity among them; `what` names the score.
    """
    one = _finite(first, f"{what}: real")
    other = _finite(second, f"{what}: generated").to(one.device)
    if one.shape[1] != other.shape[1]:
        raise DgaugError(
            f"{what}: real features of {one.shape[1]} numbers and generated ones of {other.shape[1]}; "
            "both must come from one encoder"
        )
    return one, other


def unit_features(features: Tensor, *, what: str) -> Tensor:
    """Features [N, D] of unit length, between which half the squared distance is the cosine distance.

    Raises:
        DgaugError: a feature is zero and has no direction.
    """
    if (features == 0).all(dim=1).any():
        raise DgaugError(f"{what}: a feature is zero everywhere and has no direction; the encoder is damaged")
    return normalize(features, dim=1, eps=0.0)


def nearest(
    queries: Tensor, references: Tensor, k: int = 1, *, left_out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Squared Euclidean distances [Q, k] to the k nearest references, ascending, and their rows [Q, k].

    `left_out` are rows of references, int64 [Q, L], that do not count for that query; a distance is infinite where
    fewer than k are left.
    """
    parts = []
    for rows in chunks(len(queries), len(references)):
        distances = squared_distances(queries[rows], references)
        if left_out is not None:
            distances.scatter_(1, left_out[rows], torch.inf)
        parts.append(distances.topk(k, dim=1, largest=False))
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def own_rows(features: Tensor) -> Tensor:
    """`left_out` for a set against itself: each its own row, int64 [N, 1]."""
    return torch.arange(len(features), device=features.device)[:, None]


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distances [N, M] of features [N, D] and [M, D], exact to `TIE` in float64."""
    products = torch.addmm(second.square().sum(dim=1), first, second.T, alpha=-2)
    return products.add_(first.square().sum(dim=1, keepdim=True)).clamp_min_(0)


def chunks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of rows whose distances to all columns fit in memory."""
    step = max(1, CELLS_PER_CHUNK // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _finite(features: Features, which: str) -> Tensor:
    values = torch.as_tensor(features).detach()
    if values.ndim != 2 or 0 in values.shape:
        raise DgaugError(f"{which} features must be [N, D] with at least one image, found {list(values.shape)}")
    if not torch.isfinite(values).all():
        raise DgaugError(f"{which} features hold NaN or infinity; the encoder or the images are damaged")
    # Apple's GPUs have no float64.
    return values.to("cpu" if values.device.type == "mps" else values.device, torch.float64)
