"""Images straight from a checkpoint: the grid of a run and the swap of two images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgaug.data.images import open_image, to_pixels
from dgaug.errors import DgaugError
from dgaug.figures.sheets import nxn_sheet
from dgaug.models.checkpoints import load_generator
from dgaug.runs import Run
from dgaug.store.read import open_store
from dgaug.synthesis.draw import draw_grid, generate_all, grid_donors, swap
from dgaug.synthesis.job import synthesize


def pixels_of_files(paths: list[Path]) -> np.ndarray:
    return np.stack([to_pixels(open_image(path), (64, 32)) for path in paths])


def pixels_of(run: Run, *rows: int) -> np.ndarray:
    paths = open_store(run.store).sources.path
    return pixels_of_files([run.data_root() / paths[row] for row in rows])


def test_every_appearance_meets_every_structure(tiny_run: Run, tmp_path: Path) -> None:
    model = load_generator(tiny_run.checkpoint)
    drawn = generate_all(model, pixels_of(tiny_run, 0, 5), pixels_of(tiny_run, 1, 7, 9))
    assert drawn.shape == (2, 3, 64, 32, 3)
    assert drawn.dtype == np.uint8
    synthesize(tiny_run.folder, codec="png", out=tmp_path / "store")
    store = open_store(tmp_path / "store")
    for row, i in enumerate((0, 5)):
        for column, j in enumerate((1, 7, 9)):
            stored = store[24 * i + j].image
            # The store's codes are in half precision.
            assert np.abs(drawn[row, column].astype(int) - stored).max() <= 2


def test_a_swap_is_that_pair_of_the_store(tiny_run: Run, tmp_path: Path) -> None:
    paths = [tiny_run.data_root() / path for path in open_store(tiny_run.store).sources.path]
    out = swap(paths[2], paths[11], run=tiny_run.folder, out=tmp_path / "swap.png")
    drawn = generate_all(load_generator(tiny_run.checkpoint), pixels_of(tiny_run, 2), pixels_of(tiny_run, 11))
    with Image.open(out) as image:
        assert np.array_equal(np.asarray(image), drawn[0, 0])


def test_a_swap_takes_images_of_any_size(tiny_run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (300, 500), "red").save(tmp_path / "red.jpg")
    Image.new("L", (20, 30), 90).save(tmp_path / "grey.png")
    with Image.open(swap(tmp_path / "red.jpg", tmp_path / "grey.png", run=tiny_run.folder, out=tmp_path / "o")) as out:
        assert out.size == (32, 64)


def test_a_grid_is_a_function_of_its_seed(tiny_run: Run, tmp_path: Path) -> None:
    files = [
        draw_grid(tiny_run.folder, count=4, seed=seed, out=tmp_path / f"{k}.png") for k, seed in enumerate((1, 1, 2))
    ]
    first, again, other = (file.read_bytes() for file in files)
    assert first == again != other


def test_a_grid_lies_in_the_run_unless_told_otherwise(tiny_run: Run) -> None:
    path = draw_grid(tiny_run.folder, count=2)
    assert path == tiny_run.samples / "grid-2x2.png"
    path.unlink()


def test_a_grid_of_named_images_has_their_rows_and_columns(tiny_run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (300, 500), "red").save(tmp_path / "red.jpg")
    paths = [tiny_run.data_root() / path for path in open_store(tiny_run.store).sources.path]
    rows, columns = [tmp_path / "red.jpg", paths[4]], [paths[0], paths[9], paths[17]]
    out = draw_grid(tiny_run.folder, appearances=rows, structures=columns, out=tmp_path / "grid.png")
    model = load_generator(tiny_run.checkpoint)
    donors = [pixels_of_files(rows), pixels_of_files(columns)]
    with Image.open(out) as sheet:
        expected = nxn_sheet(generate_all(model, *donors), *donors)
        assert np.array_equal(np.asarray(sheet), np.asarray(expected))


def test_what_is_not_named_is_a_seeded_choice_of_the_data(tiny_run: Run, tmp_path: Path) -> None:
    named = [tmp_path / "anna.jpg"]
    chosen = grid_donors(tiny_run, count=4, seed=3)
    assert chosen.appearances == chosen.structures
    assert grid_donors(tiny_run, appearances=named, count=4, seed=3) == (named, chosen.structures)
    assert grid_donors(tiny_run, structures=named, count=4, seed=3) == (chosen.appearances, named)
    assert grid_donors(tiny_run, count=4, seed=4) != chosen


def test_structures_are_decoded_a_few_at_a_time(tiny_run: Run) -> None:
    model, donors = load_generator(tiny_run.checkpoint), pixels_of(tiny_run, *range(18))
    drawn = generate_all(model, donors[:1], donors)
    assert drawn.shape == (1, 18, 64, 32, 3)
    assert np.abs(drawn[:, 16:].astype(int) - generate_all(model, donors[:1], donors[16:])).max() <= 1


def test_a_file_that_is_there_is_replaced_only_by_force(tiny_run: Run, tmp_path: Path) -> None:
    donor = tmp_path / "donor.png"
    Image.new("RGB", (32, 64), "red").save(donor)
    before = donor.read_bytes()
    with pytest.raises(DgaugError, match=r"donor\.png is already there"):
        swap(donor, donor, run=tiny_run.folder, out=donor)
    with pytest.raises(DgaugError, match=r"donor\.png is already there"):
        draw_grid(tiny_run.folder, count=2, out=donor)
    assert donor.read_bytes() == before
    assert swap(donor, donor, run=tiny_run.folder, out=donor, force=True) == donor
    assert donor.read_bytes() != before


def test_where_there_are_fewer_than_eight_identities_all_are_drawn(tiny_run: Run, tmp_path: Path) -> None:
    donors = grid_donors(tiny_run)
    assert (len(donors.appearances), len(donors.structures)) == (6, 6)


def test_a_grid_can_be_a_pdf(tiny_run: Run, tmp_path: Path) -> None:
    assert draw_grid(tiny_run.folder, count=2, out=tmp_path / "grid.pdf").read_bytes().startswith(b"%PDF")


def test_more_identities_than_there_are_cannot_be_drawn(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match="has 6 identities, 7 were asked for"):
        draw_grid(tiny_run.folder, count=7, out=tmp_path / "grid.png")
