"""A matplotlib figure as a file, for the screen or for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dgaug.files import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""The same figure is the same file."""


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure whole, as PNG, SVG or PDF by its suffix, PNG for any other; returns its path."""
    suffix = path.suffix.lower().removeprefix(".")
    kind = suffix if suffix in NO_DATE else "png"
    with whole(path) as aside:
        figure.savefig(aside, format=kind, metadata=NO_DATE.get(kind))
    return path
