"""Codes, images, labels and scores on a GPU that is not there: one device, few waits, layouts that CUDA takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_cuda import GPU, fake_gpu
from fake_streams import Machine, fake_streams
from PIL import Image
from tiny_run import tiny_settings

from dgaug.data.normalisation import denormalise, normalise
from dgaug.models.checkpoints import ReidModel, TrainedGenerator
from dgaug.models.generator import Generator
from dgaug.models.reid import ReidNetwork
from dgaug.scores.quality.encoders import reid_encoder
from dgaug.scores.retrieval.features import features_of
from dgaug.store.codes import Codes
from dgaug.store.resident_codes import ResidentCodes, codes_on
from dgaug.synthesis.decoding import PairDecoder, finished_batches
from dgaug.synthesis.encoding import make_codes

SIZE, CLASSES, SOURCES, MICRO_BATCH = (64, 32), 6, 8, 4
PAIRS = 3 * MICRO_BATCH - 1

# Operations of a micro-batch with torch 2.11, two fewer with 2.14; lower them when fewer are needed.
DECODED = {"fp32": 181, "bf16": 194, "bf16-labels": 194}
LABELLED = {"fp32": 376, "bf16": 389, "bf16-labels": 391}
ENCODED = 370


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.jpg" for number in range(SOURCES)]
    for path in paths:
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(path)
    return paths


def teacher() -> ReidNetwork:
    return ReidNetwork("resnet50", CLASSES, dropouts=(0.5,), pool="avg").to(GPU).eval().requires_grad_(False)


def pair_decoder(precision: str, *, labels: bool) -> PairDecoder:
    generator = Generator(SIZE, 8192).to(GPU).eval().requires_grad_(False)
    codes = Codes(
        np.arange(SOURCES), np.zeros((SOURCES, 128, 16, 8), np.float16), np.zeros((SOURCES, 4, 2, 2, 128), np.float16)
    )
    return PairDecoder(codes, generator.decoder, teacher() if labels else None, MICRO_BATCH, precision)


def rows(count: int = PAIRS) -> np.ndarray:
    return np.arange(count, dtype=np.int32) % SOURCES


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-labels"])
def test_a_micro_batch_never_waits_and_needs_few_operations(machine: Machine, precision: str, labels: bool) -> None:
    decoder = pair_decoder(precision, labels=labels)
    decoder.generate(rows(MICRO_BATCH), rows(MICRO_BATCH))
    machine.gpu.waits.clear()
    machine.gpu.kernels, machine.streams.waited = 0, 0
    arriving = decoder.begin(rows(3), rows(3))
    assert +machine.gpu.waits == {}
    assert machine.streams.waited == 0
    assert machine.gpu.kernels <= (LABELLED if labels else DECODED)[precision]
    pixels, *result = arriving.wait()
    assert machine.streams.waited == 1
    assert pixels.shape == (3, *SIZE, 3)
    assert [label.shape for label in result] == [(3, CLASSES)] * labels


def test_a_whole_shard_waits_for_the_gpu_once_a_micro_batch(machine: Machine) -> None:
    decoder = pair_decoder("bf16-labels", labels=True)
    decoder.generate(rows(MICRO_BATCH), rows(MICRO_BATCH))
    machine.gpu.waits.clear()
    machine.streams.waited = 0
    batches = list(finished_batches(decoder, rows(), rows(), codec="jpeg", quality=90, least=0))
    assert [len(batch.images) for batch in batches] == [4, 4, 3]
    assert +machine.gpu.waits == {}
    assert machine.streams.waited == len(batches)


def test_results_are_copied_behind_what_computes_them_beside_what_comes_next(machine: Machine) -> None:
    decoder = pair_decoder("fp32", labels=True)
    decoder.generate(rows(1), rows(1))
    machine.streams.said.clear()
    machine.streams.held = 0
    decoder.begin(rows(1), rows(1))
    assert [line for line in machine.streams.said if "event" not in line] == ["stream 1 waits for stream 0"]
    assert machine.streams.held == 2, "pixels and labels live until they are copied"


def test_weights_are_cast_before_the_first_micro_batch_and_not_again(machine: Machine) -> None:
    decoder = pair_decoder("bf16-labels", labels=True)
    networks = [decoder.ready.decoder, decoder.ready.teacher]
    assert {network.training for network in networks if network is not None} == {False}
    convolutions = [
        layer
        for network in networks
        if network is not None
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv2d)
    ]
    kept = [layer for layer in convolutions if layer.weight.dtype == torch.float32]
    assert len(convolutions) == 53 + 13
    assert {layer.kernel_size for layer in kept} == {(5, 5)}, "their taps are added up in float32"
    assert decoder.decoder.refine[0].conv.weight.dtype == torch.float32, "the checkpoint's own stay as they are"


def test_codes_are_on_the_gpu_where_they_fit_and_each_is_copied_there_once(machine: Machine) -> None:
    codes = pair_decoder("fp32", labels=False).codes
    machine.gpu.waits.clear()
    resident = codes_on(codes, GPU)
    assert isinstance(resident, ResidentCodes)
    first = resident.rows(rows(2), rows(2))
    assert {tensor.device for tensor in first} == {GPU}
    assert first[0].is_contiguous(memory_format=torch.channels_last)
    needed = machine.gpu.kernels
    resident.rows(rows(2), rows(2))
    needed, again = machine.gpu.kernels - needed, machine.gpu.kernels
    resident.rows(rows(3), rows(3))
    assert machine.gpu.kernels - again > needed
    assert +machine.gpu.waits == {}


def test_codes_that_do_not_fit_stay_on_the_host_and_are_copied_without_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = fake_streams(monkeypatch, memory=1 << 19)
    with fake_gpu(monkeypatch) as gpu:
        decoder = pair_decoder("fp32", labels=False)
        assert decoder.ready.codes is decoder.codes
        gpu.waits.clear()
        decoder.begin(rows(3), rows(3))
        assert +gpu.waits == {}
        assert streams.waited == 0


def test_codes_are_made_without_a_wait_but_for_each_finished_batch(
    machine: Machine, files: list[Path], tmp_path: Path
) -> None:
    generator = Generator(SIZE, 8192).to(GPU).eval().requires_grad_(False)
    appearance = ReidNetwork("resnet50", CLASSES, dropouts=(0.5, 0.5), pool="max").to(GPU).eval().requires_grad_(False)
    model = TrainedGenerator(generator, appearance, tiny_settings(), None, 0, "ab" * 32)
    machine.gpu.waits.clear()
    machine.gpu.kernels = 0
    make_codes(tmp_path / "codes.h5", np.arange(SOURCES), files, model, micro_batch=MICRO_BATCH)
    assert +machine.gpu.waits == {}
    assert machine.streams.waited == SOURCES // MICRO_BATCH
    assert machine.gpu.kernels <= ENCODED * SOURCES // MICRO_BATCH


def test_images_become_numbers_and_images_again_without_a_copy_from_the_host(machine: Machine) -> None:
    pixels = torch.zeros(2, *SIZE, 3, dtype=torch.uint8, device=GPU)
    machine.gpu.waits.clear()
    assert denormalise(normalise(pixels)).device == GPU
    assert +machine.gpu.waits == {}


def test_features_of_an_evaluation_wait_only_for_themselves(machine: Machine, files: list[Path]) -> None:
    network = teacher()
    machine.gpu.waits.clear()
    assert features_of(network, files, SIZE, title="").shape == (SOURCES, network.feature_length)
    assert +machine.gpu.waits == {}
    assert machine.streams.waited == 1


def test_a_judge_scores_on_the_gpu(machine: Machine) -> None:
    encoder = reid_encoder(ReidModel(teacher(), None, SIZE, "ab" * 32), "judge")
    features = encoder.extract(torch.zeros(3, 96, 48, 3, dtype=torch.uint8))
    assert features.device == GPU
