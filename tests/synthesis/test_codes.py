"""Codes of the sources: made once, read back as written, the same whatever was encoded beside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import normalise
from dgaug.data.training import read_data
from dgaug.models.checkpoints import TrainedGenerator, load_generator
from dgaug.progress import silent
from dgaug.runs import Run
from dgaug.synthesis.codes import Codes, drop_codes, encode_pictures, make_codes


@pytest.fixture(scope="module")
def model(tiny_run: Run) -> TrainedGenerator:
    return load_generator(tiny_run.checkpoint)


@pytest.fixture(scope="module")
def paths(tiny_run: Run) -> list[Path]:
    data = read_data(tiny_run.data_root(), tiny_run.settings().data)
    return [data.picture_path(record) for record in data.splits["train"]]


def encode(folder: Path, paths: list[Path], model: TrainedGenerator, *, micro_batch: int = 8) -> Codes:
    return make_codes(folder, paths, model, micro_batch=micro_batch, progress=silent)


def test_codes_are_those_of_the_networks(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    codes = encode(tmp_path, paths[:5], model)
    pictures = normalise(torch.from_numpy(np.stack([to_pixels(open_picture(path), (64, 32)) for path in paths[:5]])))
    with torch.no_grad():
        structure = model.generator.structure(pictures)
        adain = model.generator.adain(model.appearance(pictures).appearance)
    assert codes.structure.dtype == codes.adain.dtype == np.float16
    assert codes.structure.shape == (5, 32, 16, 8)
    assert codes.adain.shape == (5, 4, 2, 2, 32)
    assert np.allclose(codes.structure, structure, atol=2e-3)
    assert np.allclose(codes.adain, adain, rtol=2e-3, atol=2e-3)


def test_a_code_does_not_depend_on_its_neighbours(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    forward, backward = encode(tmp_path / "a", paths, model), encode(tmp_path / "b", paths[::-1], model)
    assert np.array_equal(forward.structure, backward.structure[::-1])
    assert np.array_equal(forward.adain, backward.adain[::-1])


def test_an_uneven_last_batch_is_padded_not_dropped(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    seven, all_of_them = encode(tmp_path / "a", paths[:7], model), encode(tmp_path / "b", paths, model)
    assert np.array_equal(seven.structure, all_of_them.structure[:7])


def test_only_the_sources_that_pairs_use_are_encoded(
    tmp_path: Path, model: TrainedGenerator, paths: list[Path]
) -> None:
    everything = encode(tmp_path / "a", paths, model)
    chosen = np.array([2, 5])
    few = make_codes(tmp_path / "b", paths, model, sources=chosen, micro_batch=8, progress=silent)
    assert few.structure.shape[0] == 2
    pair = np.array([5], np.int32), np.array([2], np.int32)
    for ours, theirs in zip(few.rows(*pair), everything.rows(*pair), strict=True):
        assert torch.equal(ours, theirs)


def test_codes_that_are_there_are_taken_and_half_written_ones_are_not(
    tmp_path: Path, model: TrainedGenerator, paths: list[Path]
) -> None:
    first = encode(tmp_path, paths[:3], model)
    before = (tmp_path / "structure.npy").stat().st_mtime_ns
    encode(tmp_path, paths[:3], model)
    assert (tmp_path / "structure.npy").stat().st_mtime_ns == before
    (tmp_path / "adain.npy").unlink()
    again = encode(tmp_path, paths[:3], model)
    assert np.array_equal(again.adain, first.adain)


def test_rows_pick_appearance_and_structure_apart(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    codes = encode(tmp_path, paths[:4], model)
    structure, adain = codes.rows(np.array([2, 0], np.int32), np.array([1, 3], np.int32))
    assert structure.dtype == adain.dtype == torch.float32
    assert np.array_equal(structure, codes.structure[[1, 3]].astype(np.float32))
    assert np.array_equal(adain, codes.adain[[2, 0]].astype(np.float32))


def test_working_files_are_removed(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    encode(tmp_path / "codes", paths[:2], model)
    drop_codes(tmp_path / "codes")
    assert list(tmp_path.iterdir()) == []
    drop_codes(tmp_path / "codes")


def test_pixels_are_encoded_as_they_are(model: TrainedGenerator) -> None:
    pixels = torch.randint(0, 256, (2, 64, 32, 3), dtype=torch.uint8)
    structure, adain = encode_pictures(model, pixels)
    assert torch.equal(structure, model.generator.structure(normalise(pixels)))
    assert adain.shape == (2, 4, 2, 2, 32)
