"""What the images of an appearance x structure block differ by: rows, columns, or neither alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.seeding import draws

VALUES_PER_CHUNK = 4_000_000
TRIES = 8


def block_variance(block: NDArray[Any]) -> dict[str, float]:
    """Shares of the variance of a block [A, S, ...] due to appearance (rows), structure (columns), their interaction.

    Two-way analysis of variance without replication: the sums of squares of row means, column means and what is left,
    over all pixels (or features), divided by the total; the shares sum to 1. A generator that copies the structure
    donor has `structure` 1, one that copies the appearance donor `appearance` 1; where both are obeyed, both are well
    above 0. `interaction` is what is not the sum of the two: clothes that follow the pose, and noise.

    Args:
        block: images uint8 [A, S, H, W, 3] of A appearances on S structures, or a judge's features [A, S, D].

    Raises:
        DgaugError: fewer than two rows or columns, NaN or infinity, or images that are all the same.
    """
    if block.ndim < 3 or min(block.shape[:2]) < 2 or 0 in block.shape:
        raise DgaugError(
            "row and column variance: expected a block [A, S, ...] of at least 2 appearances on 2 structures, "
            f"found {list(block.shape)}"
        )
    rows, columns = block.shape[:2]
    flat = block.reshape(rows, columns, -1)
    step = max(1, VALUES_PER_CHUNK // (rows * columns))
    squares = np.zeros(3)
    for start in range(0, flat.shape[2], step):
        squares += _sums_of_squares(flat[:, :, start : start + step].astype(np.float64))
    total = float(squares.sum())
    if not np.isfinite(total):
        raise DgaugError("row and column variance: NaN or infinity in the block; the encoder or an image is damaged")
    if total == 0:
        raise DgaugError("row and column variance: all images of the block are the same, nothing varies")
    return dict(zip(("appearance", "structure", "interaction"), (squares / total).tolist(), strict=True))


def full_block(pairs: NDArray[np.int64], *, appearances: int, structures: int, seed: int) -> NDArray[np.int64] | None:
    """Rows [A, S] of a store in which each of A appearances stands on each of S structures; None where none is found.

    Appearances are tried in the seed's order, at most `TRIES` for each that is wanted, and kept where enough common
    structures remain: any block of a store of all pairs or of a grid, none in one of few random pairs.

    Args:
        pairs: appearance and structure of each row [M, 2].
    """
    order = draws("block", seed).permutation(np.flatnonzero(np.bincount(pairs[:, 0])))
    kept: list[NDArray[np.int64]] = []
    common = np.flatnonzero(np.bincount(pairs[:, 1]))
    for appearance in order[: TRIES * appearances]:
        rows = np.flatnonzero(pairs[:, 0] == appearance)
        remaining = np.intersect1d(common, pairs[rows, 1])
        if len(remaining) >= structures:
            kept, common = [*kept, rows], remaining
        if len(kept) == appearances:
            chosen = np.sort(draws("block structures", seed).choice(common, size=structures, replace=False))
            return np.stack([_on(rows, pairs[rows, 1], chosen) for rows in kept])
    return None


def _on(rows: NDArray[np.int64], structure: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of one appearance's rows those on the chosen structures, in their order."""
    order = np.argsort(structure, kind="stable")
    return rows[order[np.searchsorted(structure, chosen, sorter=order)]]


def _sums_of_squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of squares of rows, columns and interaction of values [A, S, D]."""
    rows, columns = values.shape[:2]
    values = values - values[:1, :1]  # what does not vary becomes zero exactly
    values -= values.mean(axis=(0, 1))
    row_mean, column_mean = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    interaction = values - row_mean - column_mean
    return np.array(
        [columns * np.square(row_mean).sum(), rows * np.square(column_mean).sum(), np.square(interaction).sum()]
    )
