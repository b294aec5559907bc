"""Statistics of a set: the same however they were made, and never those of other images."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from dgaug.errors import DgaugError, Interrupted
from dgaug.interrupts import StopRequest
from dgaug.scores.quality.encoders import Encoder
from dgaug.scores.quality.feature_statistics import BATCH, Encoding, Given, Statistics, statistics_of
from dgaug.scores.quality.fid_protocols import Preparation
from dgaug.scores.quality.image_sets import ImageSet

COUNT = 2 * BATCH + 7
ROWS = np.random.default_rng(1).permutation(COUNT)
NOTHING_KEPT = Encoding()


def mean_colour(images: torch.Tensor) -> torch.Tensor:
    return images.double().mean(dim=(1, 2)).float()


ENCODER = Encoder("colour", 3, "c0" * 32, mean_colour)


@pytest.fixture
def images(tmp_path: Path) -> ImageSet:
    """Images of two sizes, in folders within folders."""
    random = np.random.default_rng(0)
    for number in range(COUNT):
        path = tmp_path / "set" / str(number % 3) / "deep" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (8, 6, 3) if number % 2 else (10, 4, 3)
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(path)
    return ImageSet.open(tmp_path / "set")


def made(
    images: ImageSet,
    encoding: Encoding = NOTHING_KEPT,
    encoder: Encoder = ENCODER,
    *,
    rows: NDArray[np.int64] = ROWS,
    keep: int = COUNT,
) -> Statistics:
    return statistics_of(
        images,
        rows,
        encoder,
        preparation=Preparation(),
        encoding=encoding,
        title="real",
        digest=images.digest(rows),
        keep=keep,
    )


def assert_same(result: Statistics, expected: Statistics) -> None:
    assert result.moments.count == expected.moments.count
    assert torch.equal(result.moments.sum, expected.moments.sum)
    assert torch.equal(result.moments.outer, expected.moments.outer)
    assert torch.equal(result.features, expected.features)


def test_every_image_counts_whatever_its_size_and_folder(images: ImageSet) -> None:
    expected = np.stack([np.asarray(Image.open(images.files[row])).mean(axis=(0, 1)) for row in ROWS])
    result = made(images)
    np.testing.assert_allclose(result.features, expected, rtol=1e-6)
    np.testing.assert_allclose(result.moments.mean, expected.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(result.moments.covariance, np.cov(expected, rowvar=False), rtol=1e-5)


def test_workers_change_nothing(images: ImageSet) -> None:
    assert_same(made(images, Encoding(workers=2)), made(images))


def test_a_stopped_encoding_resumes_where_it_was_to_the_same_bits(images: ImageSet, tmp_path: Path) -> None:
    stop, encoded = StopRequest(), []

    def stop_after_one_batch(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        stop.receive(signal.SIGTERM, None)

    def counting(pixels: torch.Tensor) -> torch.Tensor:
        encoded.append(len(pixels))
        return mean_colour(pixels)

    encoder = Encoder("colour", 3, "c0" * 32, counting)
    with pytest.raises(Interrupted):
        made(images, Encoding(tmp_path / "kept", stop=stop, progress=stop_after_one_batch), encoder)
    assert sum(encoded) == BATCH
    with pytest.raises(Interrupted):
        made(images, Encoding(tmp_path / "kept", stop=stop), encoder)
    with pytest.raises(Interrupted):
        made(images, Encoding(tmp_path / "kept", stop=stop), encoder)
    assert sum(encoded) == COUNT, "stopped after the last image"
    assert [path.suffixes for path in (tmp_path / "kept").iterdir()] == [[".part", ".npz"]]
    result = made(images, Encoding(tmp_path / "kept"), encoder)
    assert sum(encoded) == COUNT, "nothing was encoded twice"
    assert_same(result, made(images))
    assert [path.suffixes for path in (tmp_path / "kept").iterdir()] == [[".npz"]]


def test_kept_statistics_are_used_for_the_same_images_and_for_no_others(images: ImageSet, tmp_path: Path) -> None:
    def refusing(pixels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("encoded again")

    encoding, again = Encoding(tmp_path / "kept"), Encoder("colour", 3, "c0" * 32, refusing)
    before = made(images, encoding)
    assert_same(made(images, encoding, again), before)
    Image.new("RGB", (6, 8), (1, 2, 3)).save(images.files[5])
    with pytest.raises(AssertionError, match="encoded again"):
        made(images, encoding, again)
    with pytest.raises(AssertionError, match="encoded again"):
        made(ImageSet.open(tmp_path / "set"), encoding, Encoder("colour", 3, "d1" * 32, refusing))


def test_a_kept_file_of_other_data_is_refused(images: ImageSet, tmp_path: Path) -> None:
    encoding = Encoding(tmp_path / "kept")
    made(images, encoding)
    (path,) = (tmp_path / "kept").iterdir()
    Image.new("RGB", (6, 8), (1, 2, 3)).save(images.files[5])
    other = made(images, Encoding(tmp_path / "other"))
    (name,) = (tmp_path / "other").iterdir()
    path.rename(tmp_path / "kept" / name.name)
    with pytest.raises(DgaugError, match=r"found those of others .* delete it"):
        made(images, encoding)
    assert other.key != Statistics.load(tmp_path / "kept" / name.name).key
    (tmp_path / "kept" / name.name).write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DgaugError, match="not a statistics file"):
        made(images, encoding)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named_by_whoever_reads_it(images: ImageSet, workers: int) -> None:
    images.files[3].write_bytes(images.files[3].read_bytes()[:40])
    with pytest.raises(DgaugError, match=rf"{images.files[3].name}: damaged image"):
        made(images, Encoding(workers=workers))


def test_nan_features_leave_no_statistics_behind(images: ImageSet, tmp_path: Path) -> None:
    broken = Encoder("broken", 3, "b0" * 32, lambda pixels: torch.full((len(pixels), 3), torch.nan))
    with pytest.raises(DgaugError, match="NaN or infinity among the features"):
        made(images, Encoding(tmp_path / "kept"), broken)
    assert not (tmp_path / "kept").exists()


def test_one_image_is_too_few(images: ImageSet) -> None:
    with pytest.raises(DgaugError, match="at least 2 images are needed for a distance, found 1"):
        made(images, rows=ROWS[:1])


def test_given_statistics_must_come_from_the_same_encoder(images: ImageSet, tmp_path: Path) -> None:
    made(images, Encoding(tmp_path / "kept"))
    (ours,) = (tmp_path / "kept").iterdir()
    given = Given.load(ours)
    assert (given.count, given.encoder_sha256) == (COUNT, ENCODER.sha256)
    given.require(ENCODER)
    with pytest.raises(DgaugError, match="give those of the same encoder"):
        given.require(Encoder("colour", 3, "d1" * 32, mean_colour))
    np.savez(tmp_path / "theirs.npz", mu=np.zeros(4), sigma=np.eye(4))
    theirs = Given.load(tmp_path / "theirs.npz")
    assert (theirs.count, theirs.encoder_sha256) == (None, None)
    with pytest.raises(DgaugError, match="statistics of 4 numbers from an encoder with unknown weights"):
        theirs.require(ENCODER)


def test_memory_does_not_hold_more_features_than_are_kept(images: ImageSet) -> None:
    result = made(images, keep=60)
    everything = made(images)
    assert result.features.shape == (60, 3)
    assert result.moments.count == COUNT
    torch.testing.assert_close(result.moments.covariance, everything.moments.covariance)
