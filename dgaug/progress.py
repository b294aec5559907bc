"""How long jobs tell where they are, without knowing who listens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Called as often as a job likes; the listener decides what to show.

    Args of the call: what is being done, how many of `total` are done, and the few values that matter now.
    """

    def __call__(self, title: str, done: int, total: int, values: Mapping[str, float] | None = None, /) -> None:
        """Tell where the job is."""


def silent(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
    """A listener that shows nothing."""


def named(progress: Progress, name: str) -> Progress:
    """The same listener, told titles that end in a name."""

    def tell(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        progress(f"{title}, {name}", done, total, values)

    return tell
