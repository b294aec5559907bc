"""Gallery images that are a query itself: the same file, or the same features to the last bit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

Numbers = npt.NDArray[np.int64]
Copies = Mapping[int, Numbers]
"""By query that has some, the gallery rows that are copies of it, ascending."""


def equal_files(query: Sequence[bytes], gallery: Sequence[bytes]) -> Copies:
    """Rows whose files have the same digest; an empty digest equals none."""
    return _equal(query, gallery)


def equal_rows(query: Tensor, gallery: Tensor) -> Copies:
    """Rows of features [Q, D] and [G, D] of one type that are equal to the last bit.

    Two kinds of features tell no image from another, and are left as they are: rows of whole numbers (hash codes, in
    which images meet), and a query that equals each of several gallery rows (a network that answers all alike).
    """
    measured = (query != query.round()).any(dim=1).tolist()
    rows = (row if known else b"" for row, known in zip(_row_bytes(query), measured, strict=True))
    equal = _equal(rows, _row_bytes(gallery))
    everything = len(gallery) if len(gallery) > 1 else 0
    return {row: columns for row, columns in equal.items() if len(columns) != everything}


def _row_bytes(features: Tensor) -> Iterator[bytes]:
    return (row.tobytes() for row in features.detach().cpu().numpy())


def _equal(query: Iterable[bytes], gallery: Iterable[bytes]) -> dict[int, Numbers]:
    """By query, the gallery's rows with the same key; an empty one equals none."""
    queries: dict[bytes, list[int]] = {}
    for row, key in enumerate(query):
        if key:
            queries.setdefault(key, []).append(row)
    columns: dict[bytes, list[int]] = {}
    for column, key in enumerate(gallery):
        if key in queries:
            columns.setdefault(key, []).append(column)
    return {row: np.array(equal, dtype=np.int64) for key, equal in columns.items() for row in queries[key]}
