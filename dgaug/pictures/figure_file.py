"""Matplotlib figures made for files alone, whatever the user has set up for matplotlib."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgaug.files import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""The same figure is the same file."""
_BACKEND = "MPLBACKEND"


@contextmanager
def plain_style() -> Iterator[type[Figure]]:
    """The class of figures; for the length of the block a user's own style, LaTeX among it, counts for nothing."""
    _import_matplotlib()
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context("default"):
        yield Figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure whole, as PNG, SVG or PDF by its suffix, PNG for any other; returns its path."""
    suffix = path.suffix.lower().removeprefix(".")
    kind = suffix if suffix in NO_DATE else "png"
    with plain_style(), whole(path) as aside:
        figure.savefig(aside, format=kind, metadata=NO_DATE.get(kind))
    return path


def _import_matplotlib() -> None:
    """Import matplotlib where MPLBACKEND names a backend that is not there, as a notebook leaves it to `!dgaug`."""
    if "matplotlib" in sys.modules:
        return
    asked = os.environ.pop(_BACKEND, None)
    try:
        import matplotlib
    finally:
        if asked is not None:
            os.environ[_BACKEND] = asked
    if asked:
        # What is there stays what the rest of the process asked for; a file needs none.
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = asked
