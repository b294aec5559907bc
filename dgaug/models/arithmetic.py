"""Two ways to compute the same layers: fast, or step by step as published.

Both agree to rounding. Where a gradient passes a maximum or a rectifier, rounding decides which way it goes, so only
the same steps in the same order give the same gradients to more than about one percent (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_published = [False]


@contextmanager
def arithmetic(kind: str) -> Iterator[None]:
    """Compute what runs inside as `published` or `fast`."""
    before = _published[0]
    _published[0] = kind == "published"
    try:
        yield
    finally:
        _published[0] = before


def as_published() -> bool:
    """Whether layers are to be computed step by step as published."""
    return _published[0]
