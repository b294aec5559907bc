"""Statistics of a set: the same however they were made, and never those of other pictures."""

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
from dgaug.scores.quality.frechet import Moments
from dgaug.scores.quality.image_sets import PictureSet

COUNT = 2 * BATCH + 7
ROWS = np.random.default_rng(1).permutation(COUNT)
NOTHING_KEPT = Encoding()


def mean_colour(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.double().mean(dim=(1, 2)).float()


ENCODER = Encoder("colour", 3, "c0" * 32, mean_colour)


@pytest.fixture
def pictures(tmp_path: Path) -> PictureSet:
    """Pictures of two sizes, in folders within folders."""
    random = np.random.default_rng(0)
    for number in range(COUNT):
        path = tmp_path / "set" / str(number % 3) / "deep" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (8, 6, 3) if number % 2 else (10, 4, 3)
        Image.fromarray(random.integers(0, 256, size, dtype=np.uint8)).save(path)
    return PictureSet.open(tmp_path / "set")


def made(
    pictures: PictureSet,
    encoding: Encoding = NOTHING_KEPT,
    encoder: Encoder = ENCODER,
    *,
    rows: NDArray[np.int64] = ROWS,
    keep: int = COUNT,
) -> Statistics:
    return statistics_of(
        pictures,
        rows,
        encoder,
        preparation=Preparation(),
        encoding=encoding,
        title="real",
        digest=pictures.digest(rows),
        keep=keep,
    )


def assert_same(found: Statistics, expected: Statistics) -> None:
    assert found.moments.count == expected.moments.count
    assert torch.equal(found.moments.sum, expected.moments.sum)
    assert torch.equal(found.moments.outer, expected.moments.outer)
    assert torch.equal(found.features, expected.features)


def test_every_picture_counts_whatever_its_size_and_folder(pictures: PictureSet) -> None:
    expected = np.stack([np.asarray(Image.open(pictures.files[row])).mean(axis=(0, 1)) for row in ROWS])
    found = made(pictures)
    np.testing.assert_allclose(found.features, expected, rtol=1e-6)
    np.testing.assert_allclose(found.moments.mean, expected.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.moments.covariance, np.cov(expected, rowvar=False), rtol=1e-5)


def test_workers_change_nothing(pictures: PictureSet) -> None:
    assert_same(made(pictures, Encoding(workers=2)), made(pictures))


def test_a_stopped_encoding_goes_on_where_it_was_to_the_same_bits(pictures: PictureSet, tmp_path: Path) -> None:
    stop, encoded = StopRequest(), []

    def stop_after_one_batch(title: str, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
        stop.receive(signal.SIGTERM, None)

    def counting(pixels: torch.Tensor) -> torch.Tensor:
        encoded.append(len(pixels))
        return mean_colour(pixels)

    encoder = Encoder("colour", 3, "c0" * 32, counting)
    with pytest.raises(Interrupted):
        made(pictures, Encoding(tmp_path / "kept", stop=stop, progress=stop_after_one_batch), encoder)
    assert sum(encoded) == BATCH
    with pytest.raises(Interrupted):
        made(pictures, Encoding(tmp_path / "kept", stop=stop), encoder)
    with pytest.raises(Interrupted):
        made(pictures, Encoding(tmp_path / "kept", stop=stop), encoder)
    assert sum(encoded) == COUNT, "stopped after the last picture"
    assert [path.suffixes for path in (tmp_path / "kept").iterdir()] == [[".part", ".npz"]]
    found = made(pictures, Encoding(tmp_path / "kept"), encoder)
    assert sum(encoded) == COUNT, "nothing was encoded twice"
    assert_same(found, made(pictures))
    assert [path.suffixes for path in (tmp_path / "kept").iterdir()] == [[".npz"]]


def test_kept_statistics_are_used_for_the_same_pictures_and_for_no_others(pictures: PictureSet, tmp_path: Path) -> None:
    def refusing(pixels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("encoded again")

    encoding, again = Encoding(tmp_path / "kept"), Encoder("colour", 3, "c0" * 32, refusing)
    before = made(pictures, encoding)
    assert_same(made(pictures, encoding, again), before)
    Image.new("RGB", (6, 8), (1, 2, 3)).save(pictures.files[5])
    with pytest.raises(AssertionError, match="encoded again"):
        made(pictures, encoding, again)
    with pytest.raises(AssertionError, match="encoded again"):
        made(PictureSet.open(tmp_path / "set"), encoding, Encoder("colour", 3, "d1" * 32, refusing))


def test_a_kept_file_of_other_data_is_refused(pictures: PictureSet, tmp_path: Path) -> None:
    encoding = Encoding(tmp_path / "kept")
    made(pictures, encoding)
    (path,) = (tmp_path / "kept").iterdir()
    Image.new("RGB", (6, 8), (1, 2, 3)).save(pictures.files[5])
    other = made(pictures, Encoding(tmp_path / "other"))
    (name,) = (tmp_path / "other").iterdir()
    path.rename(tmp_path / "kept" / name.name)
    with pytest.raises(DgaugError, match=r"found those of others .* delete it"):
        made(pictures, encoding)
    assert other.key != Statistics.load(tmp_path / "kept" / name.name).key
    (tmp_path / "kept" / name.name).write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(DgaugError, match="not a statistics file"):
        made(pictures, encoding)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named_by_whoever_reads_it(pictures: PictureSet, workers: int) -> None:
    pictures.files[3].write_bytes(pictures.files[3].read_bytes()[:40])
    with pytest.raises(DgaugError, match=rf"{pictures.files[3].name}: damaged picture"):
        made(pictures, Encoding(workers=workers))


def test_nan_features_leave_no_statistics_behind(pictures: PictureSet, tmp_path: Path) -> None:
    broken = Encoder("broken", 3, "b0" * 32, lambda pixels: torch.full((len(pixels), 3), torch.nan))
    with pytest.raises(DgaugError, match="NaN or infinity among the features"):
        made(pictures, Encoding(tmp_path / "kept"), broken)
    assert not (tmp_path / "kept").exists()


def test_one_picture_is_too_few(pictures: PictureSet) -> None:
    with pytest.raises(DgaugError, match="at least 2 pictures are needed for a distance, found 1"):
        made(pictures, rows=ROWS[:1])


def test_given_statistics_must_come_from_the_same_encoder(pictures: PictureSet, tmp_path: Path) -> None:
    made(pictures, Encoding(tmp_path / "kept"))
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


def test_memory_does_not_hold_more_features_than_are_kept(pictures: PictureSet) -> None:
    found = made(pictures, keep=60)
    everything = made(pictures)
    assert found.features.shape == (60, 3)
    assert found.moments.count == COUNT
    torch.testing.assert_close(found.moments.covariance, everything.moments.covariance)


def test_parts_merge_to_the_whole(pictures: PictureSet) -> None:
    parts = Moments.empty(3)
    for rows in np.array_split(np.arange(COUNT), 3):
        parts.merge(made(pictures, rows=rows).moments)
    whole = made(pictures).moments
    assert parts.count == whole.count
    torch.testing.assert_close(parts.covariance, whole.covariance, rtol=1e-12, atol=1e-9)
