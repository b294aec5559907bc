"""Sheets: every image in its place, small ones enlarged by a whole factor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dgaug.figures.sheets import GAP, MARGIN, PAPER, contact_sheet, nxn_sheet, save_sheet
from dgaug.runs import Run


def plain(*colours: int, size: tuple[int, int] = (128, 64)) -> NDArray[np.uint8]:
    """One image of one grey for each value: [N, H, W, 3]."""
    return np.stack([np.full((*size, 3), colour, np.uint8) for colour in colours])


def grid_of(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels of a sheet of two appearances on three structures; cell (i, j) has the grey 10 * i + j."""
    cells = np.stack([plain(*(10 * row + column for column in range(3)), size=size) for row in range(2)])
    return np.asarray(nxn_sheet(cells, plain(100, 101, size=size), plain(200, 201, 202, size=size)))


@pytest.mark.parametrize("size", [(128, 64), (64, 32), (256, 128)])
def test_rows_are_appearances_and_columns_are_structures(size: tuple[int, int]) -> None:
    sheet = grid_of(size)
    factor = max(1, 128 // size[0])
    step_y, step_x = size[0] * factor + GAP, size[1] * factor + GAP
    middle_y, middle_x = MARGIN + size[0] * factor // 2, MARGIN + size[1] * factor // 2
    first_y, first_x = middle_y + step_y + 2 * GAP, middle_x + step_x + 2 * GAP
    for column in range(3):
        assert sheet[middle_y, first_x + column * step_x].tolist() == [200 + column] * 3
        for row in range(2):
            assert sheet[first_y + row * step_y, first_x + column * step_x].tolist() == [10 * row + column] * 3
    for row in range(2):
        assert sheet[first_y + row * step_y, middle_x].tolist() == [100 + row] * 3


def test_the_corner_is_empty_and_the_edges_say_what_is_what() -> None:
    sheet = grid_of((128, 64))
    assert sheet[MARGIN + 64, MARGIN + 32].tolist() == list(PAPER)
    assert (sheet[:MARGIN] != 255).any(), "a caption above the structures"
    assert (sheet[:, :MARGIN] != 255).any(), "a caption beside the appearances"


def test_a_contact_sheet_has_a_row_for_each_row_and_takes_rows_of_different_length() -> None:
    sheet = np.asarray(contact_sheet([list(plain(10, 20, 30)), list(plain(40))], ["first", "second"]))
    step_y, step_x = 128 + GAP + MARGIN, 64 + GAP
    for (row, column), colour in {(0, 0): 10, (0, 1): 20, (0, 2): 30, (1, 0): 40}.items():
        place = MARGIN + row * step_y + 64, GAP + column * step_x + 32
        assert sheet[place].tolist() == [colour] * 3
    assert sheet[MARGIN + step_y + 64, GAP + step_x + 32].tolist() == list(PAPER)
    assert (sheet[:MARGIN] != 255).any()


def test_without_captions_nothing_is_written() -> None:
    assert set(np.unique(np.asarray(contact_sheet([list(plain(10, 20))])))) == {10, 20, 255}


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "deep/a.png"])
def test_a_sheet_is_saved_whole_where_it_was_asked_for(tmp_path: Path, name: str) -> None:
    path = save_sheet(Image.new("RGB", (8, 4), "red"), tmp_path / name)
    assert path == tmp_path / name
    with Image.open(path) as result:
        assert result.size == (8, 4)
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_sheet_named_without_a_known_suffix_is_a_png(tmp_path: Path) -> None:
    with Image.open(save_sheet(Image.new("RGB", (8, 4)), tmp_path / "grid.result")) as result:
        assert result.format == "PNG"


def test_a_run_leaves_previews_of_all_its_donors(tiny_run: Run) -> None:
    names = sorted(path.name for path in tiny_run.samples.iterdir())
    assert names == ["00000004.png", "00000008.png"]
    with Image.open(tiny_run.samples / names[-1]) as sheet:
        assert sheet.width == MARGIN + 2 * GAP + 7 * (64 + GAP) + GAP
        assert sheet.height == MARGIN + 2 * GAP + 7 * (128 + GAP) + GAP
