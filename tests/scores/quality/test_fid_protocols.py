"""Protocols: how many images on each side, which, and what is done to them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgaug.runs import Run
from dgaug.scores.quality.fid_protocols import Preparation, Protocol
from dgaug.scores.quality.image_sets import ImageSet


def of_files(count: int) -> ImageSet:
    return ImageSet("folder", Path("images"), [Path("image.png")] * count)


def test_clean_takes_equal_counts_once_each_by_the_seed() -> None:
    protocol, few, many = Protocol("clean", 3), of_files(20), of_files(90)
    assert sorted(protocol.generated_rows(few, 90)) == list(range(20))
    drawn = protocol.real_rows(many, 20)
    assert len(set(drawn)) == 20
    np.testing.assert_array_equal(drawn, Protocol("clean", 3).real_rows(many, 20))
    assert set(drawn) != set(Protocol("clean", 4).real_rows(many, 20))
    assert set(drawn) != set(protocol.generated_rows(many, 20)), "both sides have draws of their own"
    assert len(protocol.generated_rows(many, None)) == 90, "against statistics of an unknown count"


def test_published_drops_what_is_left_of_the_last_batch_and_more_than_market_has() -> None:
    protocol = Protocol("published", 0)
    assert len(protocol.real_rows(of_files(24), 7)) == 24
    assert len(protocol.real_rows(of_files(249), 7)) == 200
    assert len(protocol.generated_rows(of_files(30_000), 7)) == 12_900
    assert len(set(protocol.real_rows(of_files(12_936), 7))) == 12_900


def test_published_takes_one_structure_for_each_appearance(tiny_run: Run) -> None:
    images = ImageSet.open(tiny_run.store)
    rows = Protocol("published", 0).generated_rows(images, None)
    assert sorted(images.pairs()[rows, 0]) == list(range(24))
    assert len(set(images.pairs()[rows, 1])) > 5


def test_published_resizes_both_sides_and_saves_those_of_a_store_once_more(tiny_run: Run) -> None:
    protocol, store = Protocol("published", 0), ImageSet.open(tiny_run.store)
    assert protocol.preparation(store, generated=True) == Preparation((256, 128), 75)
    assert protocol.preparation(store, generated=False) == Preparation((256, 128))
    assert protocol.preparation(of_files(2), generated=True) == Preparation((256, 128))
    assert Protocol("clean", 0).preparation(store, generated=True) == Preparation()


def test_a_preparation_is_what_pillow_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=75)
    expected = Image.open(stream).resize((12, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(Preparation((16, 12), 75)([image])[0], np.asarray(expected))
    assert Preparation()([image])[0] is image


@pytest.mark.parametrize("protocol", ["clean", "published"])
def test_what_a_result_records_tells_protocols_apart(protocol: str) -> None:
    described = Protocol(protocol, 0).preparation(of_files(2), generated=True).described()
    assert ("256" in str(described["resize"])) == (protocol == "published")
