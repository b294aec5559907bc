"""How an interpolation between two codes is shown: a sheet of all its steps, or an animation there and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgaug.files import whole
from dgaug.pictures.sheet import GAP, MARGIN, PAPER, caption, caption_upright, enlarged, enlargement

Pixels = NDArray[np.uint8]
STEP_MS = 100
END_MS = 600


def interpolation_sheet(cells: Pixels, donors: Pixels, weights: Sequence[float], *, what: str) -> Image.Image:
    """One row for each picture whose other code is kept, one column for each weight of the second donor.

    Args:
        cells: generated pictures uint8 [2, S, H, W, 3].
        donors: the two pictures [2, H, W, 3]: above the first and the last column, and at the left of their row.
        weights: of the second donor's code [S], 0 to 1.
        what: the interpolated code, `appearance` or `structure`.
    """
    rows, steps, height, width = cells.shape[:4]
    factor = enlargement(height)
    step_y, step_x = height * factor + GAP, width * factor + GAP
    first_y, first_x = MARGIN + step_y + 2 * GAP, MARGIN + step_x + 2 * GAP
    sheet = Image.new("RGB", (first_x + steps * step_x + GAP, first_y + rows * step_y + GAP), PAPER)
    kept = "structure" if what == "appearance" else "appearance"
    for donor, column in enumerate((0, steps - 1)):
        sheet.paste(enlarged(donors[donor], factor), (first_x + column * step_x, MARGIN))
    for column in range(1, steps - 1):
        caption(sheet, f"{weights[column]:.2g}", (first_x + column * step_x + 4, first_y - 7 * GAP))
    for row in range(rows):
        sheet.paste(enlarged(donors[row], factor), (MARGIN, first_y + row * step_y))
        for column in range(steps):
            sheet.paste(enlarged(cells[row, column], factor), (first_x + column * step_x, first_y + row * step_y))
    caption(sheet, f"{what} of", (first_x, 6))
    caption_upright(sheet, f"{kept} of", (6, first_y))
    return sheet


def save_animation(cells: Pixels, path: Path) -> Path:
    """Write an endless GIF of pictures uint8 [R, S, H, W, 3], R side by side, first to last and back."""
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
