"""Sheets of pictures: the N x N grid with its donors on the edges, and plain contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dgaug.files import whole

Pixels = NDArray[np.uint8]
PAPER = (255, 255, 255)
INK = (60, 60, 60)
GAP = 4
MARGIN = 28
FONT_SIZE = 14
TARGET_HEIGHT = 128
"""Pictures lower than this are enlarged by a whole factor."""


def nxn_sheet(cells: Pixels, appearances: Pixels, structures: Pixels) -> Image.Image:
    """The N x N picture: row i wears appearance i, column j stands in structure j.

    Args:
        cells: generated pictures uint8 [A, S, H, W, 3].
        appearances: donors of the rows [A, H, W, 3], shown at the left.
        structures: donors of the columns [S, H, W, 3], shown on top.
    """
    rows, columns, height, width = cells.shape[:4]
    factor = enlargement(height)
    step_y, step_x = height * factor + GAP, width * factor + GAP
    first_y, first_x = MARGIN + step_y + 2 * GAP, MARGIN + step_x + 2 * GAP
    sheet = Image.new("RGB", (first_x + columns * step_x + GAP, first_y + rows * step_y + GAP), PAPER)
    for column in range(columns):
        sheet.paste(enlarged(structures[column], factor), (first_x + column * step_x, MARGIN))
    for row in range(rows):
        sheet.paste(enlarged(appearances[row], factor), (MARGIN, first_y + row * step_y))
        for column in range(columns):
            place = (first_x + column * step_x, first_y + row * step_y)
            sheet.paste(enlarged(cells[row, column], factor), place)
    caption(sheet, "structure of", (first_x, 6))
    caption_upright(sheet, "appearance of", (6, first_y))
    return sheet


def contact_sheet(rows: Sequence[Sequence[Pixels]], captions: Sequence[str] = ()) -> Image.Image:
    """Rows of pictures uint8 [H, W, 3] of one size, each row with a caption above it."""
    height, width = rows[0][0].shape[:2]
    factor = enlargement(height)
    head = MARGIN if captions else GAP
    step_y, step_x = height * factor + GAP + head, width * factor + GAP
    sheet = Image.new("RGB", (GAP + max(map(len, rows)) * step_x, GAP + len(rows) * step_y), PAPER)
    for y, row in enumerate(rows):
        if captions:
            caption(sheet, captions[y], (GAP, y * step_y + 6))
        for x, picture in enumerate(row):
            sheet.paste(enlarged(picture, factor), (GAP + x * step_x, head + y * step_y))
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> Path:
    """Write a sheet whole, as PNG unless its name says otherwise; returns its path."""
    kind = Image.registered_extensions().get(path.suffix.lower(), "PNG")
    with whole(path) as aside:
        sheet.save(aside, format=kind)
    return path


def enlargement(height: int) -> int:
    """The whole factor that makes pictures of a height large enough to look at."""
    return max(1, round(TARGET_HEIGHT / height))


def enlarged(pixels: Pixels, factor: int) -> Image.Image:
    """A picture uint8 [H, W, 3], larger by a whole factor."""
    picture = Image.fromarray(pixels)
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.BICUBIC) if factor > 1 else picture


def caption(sheet: Image.Image, text: str, place: tuple[int, int]) -> None:
    """Write a word from a place (x, y) on."""
    ImageDraw.Draw(sheet).text(place, text, fill=INK, font=ImageFont.load_default(FONT_SIZE))


def caption_upright(sheet: Image.Image, text: str, place: tuple[int, int]) -> None:
    """Write a word upwards beside what starts at a place (x, y)."""
    length = int(FONT_SIZE + ImageFont.load_default(FONT_SIZE).getlength(text))
    label = Image.new("RGB", (length, 20), PAPER)
    caption(label, text, (0, 0))
    turned = label.rotate(90, expand=True)
    sheet.paste(turned.crop((0, 0, 20, min(length, sheet.height - place[1]))), place)
