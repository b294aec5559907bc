"""Two ways to compute the same layers: fast, or step by step as published.

Both agree to rounding. Where a gradient passes a maximum or a rectifier, rounding decides which way it goes, so only
the same steps in the same order give the same gradients to more than about one percent (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

# Of each thread its own: batches are encoded and decoded in threads side by side.
_published = ContextVar("_published", default=False)


@contextmanager
def arithmetic(kind: str) -> Iterator[None]:
    """Compute what runs inside, in this thread, as `published` or `fast`."""
    before = _published.set(kind == "published")
    try:
        yield
    finally:
        _published.reset(before)


def as_published() -> bool:
    """Whether layers are to be computed step by step as published."""
    return _published.get()


class NetworkWithArithmetic(nn.Module):
    """A network that may know how it computes, whoever calls it and in whatever thread.

    Attributes:
        arithmetic: `published` or `fast`; None: as the surrounding block of `arithmetic` says, else `fast`.
    """

    arithmetic: str | None = None

    # Around the call, not in `forward`: a compiled network need not trace the change.
    def __call__(self, *inputs: Any) -> Any:
        """Compute in the network's own arithmetic."""
        if self.arithmetic is None:
            return super().__call__(*inputs)
        with arithmetic(self.arithmetic):
            return super().__call__(*inputs)
