"""The worst and the best generated pictures by a score, with their donors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgaug.errors import DgaugError
from dgaug.pictures.sheet import GAP, MARGIN, PAPER, caption, caption_upright, contact_sheet, enlargement

Pixels = NDArray[np.uint8]
Rows = NDArray[np.int64]
ROW_NAMES = ("appearance", "structure", "generated")
BETWEEN = 6 * GAP


def extreme_rows(scores: NDArray[Any], count: int = 8) -> tuple[Rows, Rows]:
    """Rows of the `count` lowest scores, the lowest first, and of the highest, the highest first; never in both.

    Raises:
        DgaugError: fewer than two scores, or NaN among them.
    """
    if scores.ndim != 1 or len(scores) < 2 or np.isnan(scores).any():
        raise DgaugError(f"worst and best pictures: expected at least 2 scores without NaN, found {list(scores.shape)}")
    order = np.argsort(scores, kind="stable")
    shown = min(count, len(scores) // 2)
    return order[:shown], order[::-1][:shown]


def extremes_sheet(
    appearances: Pixels, structures: Pixels, generated: Pixels, scores: Sequence[Sequence[float]], *, what: str
) -> Image.Image:
    """The worst pictures at the left and the best at the right, each under its donors and above its score.

    Args:
        appearances: the appearance donors uint8 [2, K, H, W, 3], worst and best.
        structures: the structure donors, of the same shape.
        generated: the generated pictures, of the same shape.
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
