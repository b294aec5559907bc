"""Images inside the page, as JPEG data URIs of a bounded size: previews, sheets and charts that a run holds."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dgaug.data.images import DamagedPicture, open_picture
from dgaug.errors import DgaugError
from dgaug.figures.sheets import Pixels, enlarged, enlargement

PICTURE_HEIGHT, PICTURE_BYTES = 192, 7_000
"""Of a single picture of the grid, an interpolation or a ranked list."""
SHEET_SIDE, SHEET_BYTES = 1200, 150_000
"""Of a whole sheet: a preview, or a figure."""
_QUALITIES = (88, 75, 60, 45, 30)
MOST = 12
"""Of previews, and of figures: the page keeps its size."""


def picture_uri(pixels: Pixels) -> str:
    """A picture uint8 [H, W, 3] of at most `PICTURE_HEIGHT` and `PICTURE_BYTES`; small ones are enlarged first."""
    picture = enlarged(pixels, enlargement(len(pixels)))
    return _jpeg_uri(_within(picture, (4 * PICTURE_HEIGHT, PICTURE_HEIGHT)), PICTURE_BYTES)


def sheet_uri(sheet: Image.Image) -> str:
    """A sheet of at most `SHEET_SIDE` a side and `SHEET_BYTES`."""
    return _jpeg_uri(_within(sheet, (SHEET_SIDE, SHEET_SIDE)), SHEET_BYTES)


def _within(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    smaller = picture.copy()
    smaller.thumbnail(size, Image.Resampling.LANCZOS)
    return smaller


def _jpeg_uri(picture: Image.Image, most: int) -> str:
    while True:
        for quality in _QUALITIES:
            stream = io.BytesIO()
            picture.save(stream, format="JPEG", quality=quality, optimize=True)
            if len(stream.getvalue()) <= most:
                return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
        picture = picture.resize((max(1, picture.width // 2), max(1, picture.height // 2)), Image.Resampling.LANCZOS)


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
