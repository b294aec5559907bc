"""From pairs to images: each depends on its pair alone, labels belong to their image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch

from dgaug.data.normalisation import denormalise, normalise
from dgaug.data.prepare import read_data
from dgaug.models.checkpoints import load_generator, load_reid
from dgaug.models.reid import soft_labels
from dgaug.runs import Run
from dgaug.store.codecs import decode
from dgaug.store.codes import open_codes
from dgaug.store.shard_writer import ImageBatch
from dgaug.synthesis.decoding import PairDecoder, finished_batches
from dgaug.synthesis.encoding import make_codes

MICRO_BATCH = 8


@pytest.fixture(scope="module")
def decoder(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> PairDecoder:
    model = load_generator(tiny_run.checkpoint)
    data = read_data(tiny_run.data_root(), model.settings.data)
    paths = [data.image_path(record) for record in data.splits["train"]]
    file = tmp_path_factory.mktemp("codes") / "000000.h5"
    make_codes(file, np.arange(len(paths)), paths, model, micro_batch=8)
    codes = open_codes([file])
    return PairDecoder(codes, model.generator.decoder, load_reid(tiny_run.teacher).network, MICRO_BATCH)


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def test_images_are_the_decoders_rounded_to_grey_levels(decoder: PairDecoder) -> None:
    appearance, structure = rows(3, 0, 7), rows(1, 2, 7)
    pixels, _ = decoder.generate(appearance, structure)
    with torch.no_grad():
        direct = decoder.decoder(*(code.float() for code in decoder.codes.rows(appearance, structure)))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (3, 64, 32, 3)
    assert np.abs(pixels.astype(int) - denormalise(direct).numpy()).max() <= 1


def test_an_image_and_its_label_do_not_depend_on_the_batch(decoder: PairDecoder) -> None:
    alone = decoder.generate(rows(3), rows(5))
    crowd = decoder.generate(rows(0, 9, 3, 4, 4, 4, 1, 2), rows(1, 2, 5, 0, 5, 9, 3, 5))
    assert np.array_equal(alone[0][0], crowd[0][2])
    assert alone[1] is not None
    assert crowd[1] is not None
    assert np.array_equal(alone[1][0], crowd[1][2])


def test_labels_are_the_teachers_of_the_rounded_image(decoder: PairDecoder) -> None:
    pixels, labels = decoder.generate(rows(*range(8)), rows(*range(8, 16)))
    assert decoder.teacher is not None
    expected = soft_labels(decoder.teacher, normalise(torch.from_numpy(pixels)))
    assert labels is not None
    assert np.allclose(labels, expected, atol=1e-6)
    assert np.allclose(labels.sum(axis=1), 1, atol=1e-5)


def test_without_a_teacher_there_is_no_label(decoder: PairDecoder) -> None:
    unlabelled = PairDecoder(decoder.codes, decoder.decoder, None, MICRO_BATCH)
    pixels, labels = unlabelled.generate(rows(3), rows(5))
    assert labels is None
    assert np.array_equal(pixels, decoder.generate(rows(3), rows(5))[0])


def test_bf16_images_are_those_of_fp32_within_a_grey_level_on_average(decoder: PairDecoder) -> None:
    half = replace(decoder, teacher=None, precision="bf16")
    pairs = rows(*range(8)), rows(*range(8, 16))
    pixels, exact = half.generate(*pairs)[0].astype(int), decoder.generate(*pairs)[0].astype(int)
    assert 0 < np.abs(pixels - exact).mean() < 1
    assert np.array_equal(half.generate(pairs[0][3:4], pairs[1][3:4])[0][0], pixels[3])


def test_bf16_labels_are_those_of_fp32_within_a_hundredth_and_only_when_asked_for(decoder: PairDecoder) -> None:
    pairs = rows(*range(8)), rows(*range(8, 16))
    (pixels, labels), (same, half) = (
        replace(decoder, precision=precision).generate(*pairs) for precision in ("bf16", "bf16-labels")
    )
    assert decoder.teacher is not None
    assert labels is not None
    assert half is not None
    assert np.array_equal(pixels, same)
    exact = soft_labels(decoder.teacher, normalise(torch.from_numpy(pixels))).numpy()
    assert np.allclose(labels, exact, atol=1e-6)
    assert 0 < np.abs(half - exact).sum(axis=1).max() / 2 < 0.01
    assert np.allclose(half.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("codec", "tolerance"), [("png", 0), ("jpeg", 6)])
def test_batches_come_in_order_and_encoded(decoder: PairDecoder, codec: str, tolerance: int) -> None:
    appearance, structure = rows(*range(20)), rows(*reversed(range(20)))
    batches = list(finished_batches(decoder, appearance, structure, codec=codec, quality=90, least=0))
    assert [len(batch.images) for batch in batches] == [8, 8, 4]
    assert np.concatenate([batch.appearance for batch in batches]).tolist() == appearance.tolist()
    assert np.concatenate([batch.structure for batch in batches]).tolist() == structure.tolist()
    drawn = np.concatenate([decoder.generate(appearance[k : k + 8], structure[k : k + 8])[0] for k in (0, 8, 16)])
    for image, pixels in zip((one for batch in batches for one in batch.images), drawn, strict=True):
        error = np.abs(decode(image, codec=codec, image_size=(64, 32)).astype(int) - pixels)
        assert error.mean() <= tolerance


def confidence(batches: Iterable[ImageBatch]) -> np.ndarray:
    return np.array([label.max() for batch in batches for label in np.asarray(batch.probabilities)])


def test_images_that_the_teacher_is_unsure_of_are_left_out_with_their_labels(decoder: PairDecoder) -> None:
    appearance, structure = np.repeat(rows(*range(24)), 2), np.tile(rows(0, 1), 24)
    sure = confidence(finished_batches(decoder, appearance, structure, codec="png", quality=0, least=0))
    least = float(np.median(sure))
    kept = list(finished_batches(decoder, appearance, structure, codec="png", quality=0, least=least))
    assert np.concatenate([batch.appearance for batch in kept]).tolist() == appearance[sure >= least].tolist()
    assert np.concatenate([batch.structure for batch in kept]).tolist() == structure[sure >= least].tolist()
    assert sum(len(batch.images) for batch in kept) == (sure >= least).sum() < 48
    assert (confidence(kept) >= least).all()
