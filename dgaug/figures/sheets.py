"""Sheets of images: the N x N grid with its donors on the edges, contact sheets, interpolations, ranked lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dgaug.errors import DgaugError
from dgaug.files import whole

Pixels = NDArray[np.uint8]
PAPER = (255, 255, 255)
INK = (60, 60, 60)
GAP = 4
MARGIN = 28
FONT_SIZE = 14
TARGET_HEIGHT = 128
"""Images lower than this are enlarged by a whole factor."""
Rows = NDArray[np.int64]
ROW_NAMES = ("appearance", "structure", "generated")
BETWEEN = 6 * GAP
STEP_MS = 100
END_MS = 600
RIGHT, WRONG = (0, 130, 90), (205, 70, 0)
"""Bluish green and vermilion, which most colour-blind readers tell apart; a sign says it again."""
FRAME = 4
SIGN = 22


def nxn_sheet(cells: Pixels, appearances: Pixels, structures: Pixels) -> Image.Image:
    """The N x N image: row i wears appearance i, column j stands in structure j.

    Args:
        cells: generated images uint8 [A, S, H, W, 3].
        appearances: donors of the rows [A, H, W, 3], shown at the left.
        structures: donors of the columns [S, H, W, 3], shown on top.
    """
    return _table_of(cells, appearances, dict(enumerate(structures)), "appearance of", "structure of")


def _table_of(cells: Pixels, rows: Pixels, columns: Mapping[int, Pixels], of_rows: str, of_columns: str) -> Image.Image:
    """Cells [A, S, H, W, 3] with an image at the left of every row and above some columns, and a word on either."""
    height, width = cells.shape[2:4]
    factor = enlargement(height)
    step_y, step_x = height * factor + GAP, width * factor + GAP
    first_y, first_x = MARGIN + step_y + 2 * GAP, MARGIN + step_x + 2 * GAP
    size = (first_x + cells.shape[1] * step_x + GAP, first_y + cells.shape[0] * step_y + GAP)
    sheet = Image.new("RGB", size, PAPER)
    for column, image in columns.items():
        sheet.paste(enlarged(image, factor), (first_x + column * step_x, MARGIN))
    for row, image in enumerate(rows):
        sheet.paste(enlarged(image, factor), (MARGIN, first_y + row * step_y))
        for column, cell in enumerate(cells[row]):
            sheet.paste(enlarged(cell, factor), (first_x + column * step_x, first_y + row * step_y))
    caption(sheet, of_columns, (first_x, 6))
    caption_upright(sheet, of_rows, (6, first_y))
    return sheet


def contact_sheet(rows: Sequence[Sequence[Pixels]], captions: Sequence[str] = ()) -> Image.Image:
    """Rows of images uint8 [H, W, 3] of one size, each row with a caption above it."""
    height, width = rows[0][0].shape[:2]
    factor = enlargement(height)
    head = MARGIN if captions else GAP
    step_y, step_x = height * factor + GAP + head, width * factor + GAP
    sheet = Image.new("RGB", (GAP + max(map(len, rows)) * step_x, GAP + len(rows) * step_y), PAPER)
    for y, row in enumerate(rows):
        if captions:
            caption(sheet, captions[y], (GAP, y * step_y + 6))
        for x, image in enumerate(row):
            sheet.paste(enlarged(image, factor), (GAP + x * step_x, head + y * step_y))
    return sheet


def extreme_rows(scores: NDArray[Any], count: int = 8) -> tuple[Rows, Rows]:
    """Rows of the `count` lowest scores, the lowest first, and of the highest, the highest first; never in both.

    Raises:
        DgaugError: fewer than two scores, or NaN among them.
    """
    if scores.ndim != 1 or len(scores) < 2 or np.isnan(scores).any():
        raise DgaugError(f"worst and best images: expected at least 2 scores without NaN, found {list(scores.shape)}")
    order = np.argsort(scores, kind="stable")
    shown = min(count, len(scores) // 2)
    return order[:shown], order[::-1][:shown]


def extremes_sheet(
    appearances: Pixels, structures: Pixels, generated: Pixels, scores: Sequence[Sequence[float]], *, what: str
) -> Image.Image:
    """The worst images at the left and the best at the right, each under its donors and above its score.

    Args:
        appearances: the appearance donors uint8 [2, K, H, W, 3], worst and best.
        structures: the structure donors, of the same shape.
        generated: the generated images, of the same shape.
        scores: [2, K].
        what: what the score is.
    """
    height, width = generated.shape[2:4]
    factor = enlargement(height)
    step_y, step_x = height * factor + 2 * GAP, width * factor + GAP
    halves = [contact_sheet([list(row[side]) for row in (appearances, structures, generated)]) for side in range(2)]
    sheet = Image.new("RGB", (2 * MARGIN + 2 * halves[0].width + BETWEEN, 2 * MARGIN + halves[0].height), PAPER)
    for row, name in enumerate(ROW_NAMES):
        caption_upright(sheet, name, (6, MARGIN + GAP + row * step_y))
    for side, half in enumerate(halves):
        left = MARGIN + side * (half.width + BETWEEN)
        sheet.paste(half, (left, MARGIN))
        caption(sheet, f"{('worst', 'best')[side]} by {what}", (left + GAP, 6))
        for column, score in enumerate(scores[side]):
            caption(sheet, f"{score:.2f}", (left + GAP + column * step_x, MARGIN + half.height + 4))
    return sheet


def interpolation_sheet(cells: Pixels, donors: Pixels, weights: Sequence[float], *, what: str) -> Image.Image:
    """One row for each image whose other code is kept, one column for each weight of the second donor.

    Args:
        cells: generated images uint8 [2, S, H, W, 3].
        donors: the two images [2, H, W, 3]: above the first and the last column, and at the left of their row.
        weights: of the second donor's code [S], 0 to 1.
        what: the interpolated code, `appearance` or `structure`.
    """
    steps, height, width = cells.shape[1:4]
    kept = "structure" if what == "appearance" else "appearance"
    sheet = _table_of(cells, donors, {0: donors[0], steps - 1: donors[1]}, f"{kept} of", f"{what} of")
    step_y, step_x = height * enlargement(height) + GAP, width * enlargement(height) + GAP
    for column in range(1, steps - 1):
        place = (MARGIN + step_x + 2 * GAP + column * step_x + 4, MARGIN + step_y - 5 * GAP)
        caption(sheet, f"{weights[column]:.2g}", place)
    return sheet


@dataclass(frozen=True)
class RankedRow:
    """A query and the images ranked for it, uint8 [H, W, 3] of one size; `right` [n] says which are right."""

    caption: str
    query: Pixels
    images: Sequence[Pixels]
    right: Sequence[bool]


def ranked_sheet(rows: Sequence[RankedRow]) -> Image.Image:
    """Row under row, the query at the left; a tick in a green frame is right, a cross in an orange one is wrong."""
    height, width = rows[0].query.shape[:2]
    factor = enlargement(height)
    step_x = width * factor + 2 * FRAME + GAP
    step_y = MARGIN + height * factor + 2 * FRAME + GAP
    columns = 1 + max(len(row.images) for row in rows)
    sheet = Image.new("RGB", (3 * GAP + columns * step_x, GAP + len(rows) * step_y), PAPER)
    for y, row in enumerate(rows):
        top = y * step_y + MARGIN
        caption(sheet, row.caption, (GAP, top - MARGIN + 6))
        sheet.paste(_framed(row.query, factor, INK), (GAP, top))
        for x, (image, right) in enumerate(zip(row.images, row.right, strict=True), start=1):
            framed = _framed(image, factor, RIGHT if right else WRONG)
            _sign(framed, right=right)
            sheet.paste(framed, (2 * GAP + x * step_x, top))
    return sheet


def _framed(pixels: Pixels, factor: int, colour: tuple[int, int, int]) -> Image.Image:
    image = enlarged(pixels, factor)
    framed = Image.new("RGB", (image.width + 2 * FRAME, image.height + 2 * FRAME), colour)
    framed.paste(image, (FRAME, FRAME))
    return framed


def _sign(framed: Image.Image, *, right: bool) -> None:
    """A tick or a cross on a plate in the lower right corner."""
    draw = ImageDraw.Draw(framed)
    left, top = framed.width - SIGN, framed.height - SIGN
    draw.rectangle((left, top, framed.width, framed.height), fill=RIGHT if right else WRONG)
    strokes = [[(4, 11), (9, 16), (17, 5)]] if right else [[(5, 5), (16, 16)], [(5, 16), (16, 5)]]
    for stroke in strokes:
        draw.line([(left + x, top + y) for x, y in stroke], fill=PAPER, width=3, joint="curve")


def save_animation(cells: Pixels, path: Path) -> Path:
    """Write an endless GIF of images uint8 [R, S, H, W, 3], R side by side, first to last and back."""
    rows, steps, height, width = cells.shape[:4]
    factor = enlargement(height)
    frames = []
    for step in [*range(steps), *range(steps - 2, 0, -1)]:
        frame = Image.new("RGB", (rows * (width * factor + GAP) - GAP, height * factor), PAPER)
        for row in range(rows):
            frame.paste(enlarged(cells[row, step], factor), (row * (width * factor + GAP), 0))
        frames.append(frame.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG))
    times = [END_MS if step in (0, steps - 1) else STEP_MS for step in range(len(frames))]
    with whole(path) as aside:
        frames[0].save(aside, format="GIF", save_all=True, append_images=frames[1:], duration=times, loop=0)
    return path


def save_sheet(sheet: Image.Image, path: Path) -> Path:
    """Write a sheet whole, as PNG unless its name says otherwise; returns its path."""
    kind = Image.registered_extensions().get(path.suffix.lower(), "PNG")
    with whole(path) as aside:
        sheet.save(aside, format=kind)
    return path


def enlargement(height: int) -> int:
    """The whole factor that makes images of a height large enough to look at."""
    return max(1, round(TARGET_HEIGHT / height))


def enlarged(pixels: Pixels, factor: int) -> Image.Image:
    """An image uint8 [H, W, 3], larger by a whole factor."""
    image = Image.fromarray(pixels)
    size = (image.width * factor, image.height * factor)
    return image.resize(size, Image.Resampling.BICUBIC) if factor > 1 else image


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
