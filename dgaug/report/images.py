"""Images inside the page, as JPEG data URIs of a bounded size: previews, sheets and charts that a run holds."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dgaug.data.images import DamagedImage, open_image
from dgaug.errors import DgaugError
from dgaug.figures.sheets import Pixels, enlarged, enlargement

IMAGE_HEIGHT, IMAGE_BYTES = 192, 7_000
"""Of a single image of the grid, an interpolation or a ranked list."""
SHEET_SIDE, SHEET_BYTES = 1200, 150_000
"""Of a whole sheet: a preview, or a chart."""
_QUALITIES = (88, 75, 60, 45, 30)
MOST = 12
"""Of previews, and of charts: the page keeps its size."""


def image_uri(pixels: Pixels) -> str:
    """An image uint8 [H, W, 3] of at most `IMAGE_HEIGHT` and `IMAGE_BYTES`; small ones are enlarged first."""
    image = enlarged(pixels, enlargement(len(pixels)))
    return _jpeg_uri(_within(image, (4 * IMAGE_HEIGHT, IMAGE_HEIGHT)), IMAGE_BYTES)


def sheet_uri(sheet: Image.Image) -> str:
    """A sheet of at most `SHEET_SIDE` a side and `SHEET_BYTES`."""
    return _jpeg_uri(_within(sheet, (SHEET_SIDE, SHEET_SIDE)), SHEET_BYTES)


def _within(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    smaller = image.copy()
    smaller.thumbnail(size, Image.Resampling.LANCZOS)
    return smaller


def _jpeg_uri(image: Image.Image, most: int) -> str:
    while True:
        for quality in _QUALITIES:
            stream = io.BytesIO()
            image.save(stream, format="JPEG", quality=quality, optimize=True)
            if len(stream.getvalue()) <= most:
                return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
        image = image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class NamedImage:
    """An image with what it is called."""

    name: str
    image: str


def previews(samples: Path) -> list[NamedImage]:
    """The training previews in a folder, named by iteration, evenly thinned; DgaugError where there are none."""
    files = sorted((file for file in samples.glob("*.png") if file.stem.isdigit()), key=lambda file: int(file.stem))
    readable = list(_readable(_thinned(files)))
    if not readable:
        raise DgaugError("There is no preview yet.")
    return [NamedImage(f"{int(file.stem):,}", image) for file, image in readable]


def charts(folder: Path, most: int = MOST // 2) -> list[NamedImage]:
    """PNG files of a folder in the order of their names, at most `most`; files that are no images are left out."""
    return [NamedImage(file.stem, image) for file, image in _readable(sorted(folder.glob("*.png"))[:most])]


def _thinned(files: Sequence[Path]) -> list[Path]:
    places = np.linspace(0, len(files) - 1, min(MOST, len(files))).round().astype(int)
    return [files[place] for place in places]


def _readable(files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Each file that is an image; one cut off by a crash takes nothing from the others."""
    for file in files:
        with suppress(DamagedImage):
            yield file, sheet_uri(open_image(file))
