"""Ranked lists to look at: each query with the first images of its ranking, right and wrong told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from dgaug.figures.sheets import GAP, INK, MARGIN, PAPER, Pixels, caption, enlarged, enlargement

RIGHT, WRONG = (0, 130, 90), (205, 70, 0)
"""Bluish green and vermilion, which most colour-blind readers tell apart; a sign says it again."""
FRAME = 4
SIGN = 22


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
