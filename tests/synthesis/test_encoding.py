"""Codes of the sources: made once, read back as written, the same whatever was encoded beside."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import normalise
from dgaug.data.prepare import read_data
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import TrainedGenerator, load_generator
from dgaug.runs import Run
from dgaug.store.codes import Codes, holds_codes, open_codes
from dgaug.synthesis.encoding import encode_images, make_codes


@pytest.fixture(scope="module")
def model(tiny_run: Run) -> TrainedGenerator:
    return load_generator(tiny_run.checkpoint)


@pytest.fixture(scope="module")
def paths(tiny_run: Run) -> list[Path]:
    data = read_data(tiny_run.data_root(), tiny_run.settings().data)
    return [data.image_path(record) for record in data.splits["train"]]


def encode(folder: Path, paths: list[Path], model: TrainedGenerator, *, micro_batch: int = 8) -> Codes:
    return encode_some(folder, np.arange(len(paths)), paths, model, micro_batch=micro_batch)


def encode_some(
    folder: Path, sources: np.ndarray, paths: list[Path], model: TrainedGenerator, *, micro_batch: int = 8
) -> Codes:
    make_codes(folder / "000000.h5", sources, paths, model, micro_batch=micro_batch)
    return open_codes([folder / "000000.h5"])


def test_codes_are_those_of_the_networks(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    codes = encode(tmp_path, paths[:5], model)
    images = normalise(torch.from_numpy(np.stack([to_pixels(open_image(path), (64, 32)) for path in paths[:5]])))
    with torch.no_grad():
        structure = model.generator.structure(images)
        adain = model.generator.adain(model.appearance(images).appearance)
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
    few = encode_some(tmp_path / "b", chosen, paths, model)
    assert few.structure.shape[0] == 2
    pair = np.array([5], np.int32), np.array([2], np.int32)
    for ours, theirs in zip(few.rows(*pair), everything.rows(*pair), strict=True):
        assert torch.equal(ours, theirs)


def test_a_file_says_whose_codes_it_holds(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    file = tmp_path / "000000.h5"
    encode(tmp_path, paths[:3], model)
    assert holds_codes(file, np.arange(3), generator_sha256=model.sha256)
    assert not holds_codes(file, np.arange(4), generator_sha256=model.sha256)
    assert not holds_codes(file, np.arange(3), generator_sha256="00" * 32)
    assert not holds_codes(tmp_path / "000001.h5", np.arange(3), generator_sha256=model.sha256)


def test_codes_in_several_files_are_found_in_whatever_order_their_sources_are(
    tmp_path: Path, model: TrainedGenerator, paths: list[Path]
) -> None:
    one = encode(tmp_path, paths[:8], model)
    files = []
    for number, sources in enumerate(([1, 4, 6], [0, 7], [2, 3, 5])):
        files.append(tmp_path / f"part{number}.h5")
        make_codes(files[-1], np.array(sources), paths[:8], model, micro_batch=8)
    several = open_codes(files)
    pairs = np.array([7, 0, 3, 2, 6], np.int32), np.array([1, 5, 5, 7, 2], np.int32)
    for mine, theirs in zip(several.rows(*pairs), one.rows(*pairs), strict=True):
        assert torch.equal(mine, theirs)


def test_a_pair_whose_source_has_no_code_is_an_error(
    tmp_path: Path, model: TrainedGenerator, paths: list[Path]
) -> None:
    few = encode_some(tmp_path, np.array([2, 5]), paths, model)
    for missing in (3, 23):
        with pytest.raises(DgaugError, match="a pair whose source has none"):
            few.rows(np.array([2], np.int32), np.array([missing], np.int32))


def test_codes_that_are_not_finite_are_refused(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    broken = copy.deepcopy(model)
    broken.generator.adain.biases[-1].data[0] = 1e6  # finite, but not in half precision
    with pytest.raises(DgaugError, match="finite codes"):
        encode(tmp_path, paths[:2], broken)
    assert list(tmp_path.iterdir()) == []


def test_rows_pick_appearance_and_structure_apart(tmp_path: Path, model: TrainedGenerator, paths: list[Path]) -> None:
    codes = encode(tmp_path, paths[:4], model)
    structure, adain = codes.rows(np.array([2, 0], np.int32), np.array([1, 3], np.int32))
    assert structure.dtype == adain.dtype == torch.float16
    assert np.array_equal(structure, codes.structure[[1, 3]])
    assert np.array_equal(adain, codes.adain[[2, 0]])


def test_pixels_are_encoded_as_they_are(model: TrainedGenerator) -> None:
    pixels = torch.randint(0, 256, (2, 64, 32, 3), dtype=torch.uint8)
    structure, adain = encode_images(model, pixels)
    assert torch.equal(structure, model.generator.structure(normalise(pixels)))
    assert adain.shape == (2, 4, 2, 2, 32)
