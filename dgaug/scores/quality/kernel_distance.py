"""Kernel distance (KID): unbiased squared maximum mean discrepancy with a cubic polynomial kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dgaug.errors import DgaugError

USUAL_SUBSET_SIZE = 1000


@dataclass(frozen=True)
class KernelDistance:
    """Mean and standard deviation over the subsets, and how they were drawn."""

    mean: float
    spread: float
    subsets: int
    subset_size: int


def kernel_distance(
    first: Tensor | npt.NDArray[Any],
    second: Tensor | npt.NDArray[Any],
    *,
    subsets: int = 100,
    subset_size: int | None = None,
    seed: int = 0,
) -> KernelDistance:
    """KID between features [N, D] and [M, D] (Bińkowski et al. 2018): mean and spread over seeded random subsets.

    `subset_size` is 1,000, or all of the smaller set where that has fewer. The estimate is unbiased, so it can be
    slightly negative for equal distributions.

    Raises:
        DgaugError: shapes that do not fit, NaN or infinity, or fewer features than a subset takes.
    """
    first = _features("first", first)
    second = _features("second", second).to(first.device)
    if first.shape[1] != second.shape[1]:
        raise DgaugError(f"KID: features of {first.shape[1]} and {second.shape[1]} numbers; use one encoder for both")
    smaller = min(len(first), len(second))
    size = min(USUAL_SUBSET_SIZE, smaller) if subset_size is None else subset_size
    if subsets < 1 or not 2 <= size <= smaller:
        raise DgaugError(
            f"KID: {subsets} subsets of {size} images cannot be drawn from {len(first)} and {len(second)}; "
            f"take at least 1 subset of 2 to {smaller}"
        )
    generator = np.random.default_rng(seed)
    distances = torch.stack(
        [polynomial_mmd(_subset(first, size, generator), _subset(second, size, generator)) for _ in range(subsets)]
    )
    return KernelDistance(float(distances.mean()), float(distances.std(correction=0)), subsets, size)


def polynomial_mmd(first: Tensor, second: Tensor) -> Tensor:
    """Unbiased squared MMD of features [N, D] and [M, D] with kernel (x·y / D + 1)^3: a scalar."""
    within_first, within_second = _kernel(first, first), _kernel(second, second)
    count, other = len(first), len(second)
    return (
        (within_first.sum() - within_first.trace()) / (count * (count - 1))
        + (within_second.sum() - within_second.trace()) / (other * (other - 1))
        - 2 * _kernel(first, second).mean()
    )


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _subset(features: Tensor, size: int, generator: np.random.Generator) -> Tensor:
    rows = torch.from_numpy(generator.choice(len(features), size, replace=False))
    # The three sums nearly cancel, so they are taken in double precision.
    return features[rows.to(features.device)].double()


def _features(which: str, features: Tensor | npt.NDArray[Any]) -> Tensor:
    values = torch.as_tensor(features).detach()
    if values.ndim != 2:
        raise DgaugError(f"KID: expected the {which} features as [N, D], found {list(values.shape)}")
    if not torch.isfinite(values).all():
        raise DgaugError(f"KID: NaN or infinity among the {which} features; the encoder or the images are damaged")
    return values
