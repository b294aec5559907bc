"""Ranked lists: right and wrong differ in colour and in sign."""

from __future__ import annotations

import numpy as np

from dgaug.figures.sheets import FRAME, GAP, INK, MARGIN, RIGHT, SIGN, WRONG, RankedRow, ranked_sheet

GREY = np.full((128, 64, 3), 90, np.uint8)


def test_each_image_stands_in_the_frame_and_with_the_sign_of_what_it_is() -> None:
    row = RankedRow("0002   AP 0.50", GREY, [GREY, GREY, GREY], [True, False, True])
    sheet = np.asarray(ranked_sheet([row, RankedRow("short", GREY, [GREY], [False])]))
    step_x, step_y = 64 + 2 * FRAME + GAP, MARGIN + 128 + 2 * FRAME + GAP
    places = [(MARGIN, GAP), *((MARGIN, 2 * GAP + x * step_x) for x in (1, 2, 3)), (MARGIN + step_y, 2 * GAP + step_x)]
    cells = [sheet[y : y + 128 + 2 * FRAME, x : x + 64 + 2 * FRAME] for y, x in places]
    assert [tuple(cell[0, 0]) for cell in cells] == [INK, RIGHT, WRONG, RIGHT, WRONG]
    for cell in cells:
        assert (cell[FRAME:-SIGN, FRAME:-FRAME] == 90).all()
    signs = [(cell[-SIGN:, -SIGN:] == 255).all(axis=2) for cell in cells]
    assert not signs[0].any()
    assert np.array_equal(signs[1], signs[3])
    assert np.array_equal(signs[2], signs[4])
    assert signs[1].any()
    assert (signs[1] != signs[2]).sum() > 20
    assert (sheet[MARGIN + step_y :, 2 * GAP + 2 * step_x :] == 255).all()
