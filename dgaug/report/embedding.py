"""Pictures inside the page: JPEG as data URIs, each of a bounded size."""

from __future__ import annotations

import base64
import io

from PIL import Image

from dgaug.pictures.sheet import Pixels, enlarged, enlargement

PICTURE_HEIGHT, PICTURE_BYTES = 192, 7_000
"""Of a single picture of the grid, an interpolation or a ranked list."""
SHEET_SIDE, SHEET_BYTES = 1200, 150_000
"""Of a whole sheet: a preview, or a figure."""
_QUALITIES = (88, 75, 60, 45, 30)


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
