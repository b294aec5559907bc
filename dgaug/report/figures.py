"""Pictures that a run's commands left in it: previews over time, sheets and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dgaug.data.images import DamagedPicture, open_picture
from dgaug.errors import DgaugError
from dgaug.report.embedding import sheet_uri

MOST = 12
"""Of previews, and of figures: the page keeps its size."""


@dataclass(frozen=True)
class Figure:
    """A picture with what it is called."""

    name: str
    picture: str


def previews(samples: Path) -> list[Figure]:
    """The training previews in a folder, named by iteration, evenly thinned; DgaugError where there are none."""
    files = sorted((file for file in samples.glob("*.png") if file.stem.isdigit()), key=lambda file: int(file.stem))
    found = _readable(_thinned(files))
    if not found:
        raise DgaugError("There is no preview yet.")
    return [Figure(f"{int(file.stem):,}", picture) for file, picture in found]


def figures(folder: Path, most: int = MOST // 2) -> list[Figure]:
    """PNG files of a folder in the order of their names, at most `most`; files that are no pictures are left out."""
    return [Figure(file.stem, picture) for file, picture in _readable(sorted(folder.glob("*.png"))[:most])]


def _thinned(files: Sequence[Path]) -> list[Path]:
    places = np.linspace(0, len(files) - 1, min(MOST, len(files))).round().astype(int)
    return [files[place] for place in places]


def _readable(files: Sequence[Path]) -> list[tuple[Path, str]]:
    """Each file that is a picture; one cut off by a crash takes nothing from the others."""
    return [(file, picture) for file in files if (picture := _picture(file)) is not None]


def _picture(file: Path) -> str | None:
    try:
        return sheet_uri(open_picture(file))
    except DamagedPicture:
        return None
