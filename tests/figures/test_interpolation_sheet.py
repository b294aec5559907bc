"""The sheet and the animation of an interpolation: every image in its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgaug.figures.sheets import END_MS, GAP, MARGIN, STEP_MS, interpolation_sheet, save_animation


def cells_of(steps: int) -> NDArray[np.uint8]:
    """Two rows of plain images; row r, step s has the grey 100 * r + 10 * s."""
    greys = np.array([[100 * row + 10 * step for step in range(steps)] for row in range(2)], np.uint8)
    return np.broadcast_to(greys[:, :, None, None, None], (2, steps, 128, 64, 3)).copy()


def test_donors_stand_above_the_ends_and_beside_their_row() -> None:
    donors = np.stack([np.full((128, 64, 3), grey, np.uint8) for grey in (201, 222)])
    sheet = np.asarray(interpolation_sheet(cells_of(4), donors, [0, 1 / 3, 2 / 3, 1], what="appearance"))
    step_y, step_x = 128 + GAP, 64 + GAP
    middle_y, middle_x = MARGIN + 64, MARGIN + 32
    first_y, first_x = middle_y + step_y + 2 * GAP, middle_x + step_x + 2 * GAP
    assert sheet[middle_y, first_x].tolist() == [201] * 3
    assert sheet[middle_y, first_x + 3 * step_x].tolist() == [222] * 3
    assert sheet[middle_y, first_x + step_x].tolist() == [255] * 3
    for row, grey in enumerate((201, 222)):
        assert sheet[first_y + row * step_y, middle_x].tolist() == [grey] * 3
        for step in range(4):
            assert sheet[first_y + row * step_y, first_x + step * step_x].tolist() == [100 * row + 10 * step] * 3
    above = sheet[MARGIN : MARGIN + 128, first_x + step_x - 30 : first_x + step_x + 30]
    assert (above < 255).any(), "the weight above its column"


def test_an_animation_rests_at_its_ends_and_shows_both_rows(tmp_path: Path) -> None:
    with Image.open(save_animation(cells_of(3), tmp_path / "steps.gif")) as animation:
        assert animation.n_frames == 4
        seen = []
        for number in range(4):
            animation.seek(number)
            pixels = np.asarray(animation.convert("RGB"))
            seen.append((int(pixels[64, 32, 0]), int(pixels[64, 64 + GAP + 32, 0]), animation.info["duration"]))
    ends, between = END_MS, STEP_MS
    assert seen == [(0, 100, ends), (10, 110, between), (20, 120, ends), (10, 110, between)]
    assert [path.name for path in tmp_path.iterdir()] == ["steps.gif"]
