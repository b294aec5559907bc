"""How many images a device computes at a time, which a store records."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from dgaug.store.micro_batch import default_micro_batch, micro_batch_on, on_demand

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def gpu_of(patch: pytest.MonkeyPatch, gigabytes: int) -> None:
    patch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=gigabytes << 30))


@pytest.mark.parametrize(
    ("size", "gigabytes", "count"),
    [
        ((256, 128), 80, 256),
        ((128, 64), 80, 512),
        ((64, 32), 80, 512),
        ((384, 192), 80, 128),
        ((256, 128), 16, 128),
        ((256, 128), 4, 32),
        ((256, 128), 1, 32),
        ((64, 32), 4, 512),
    ],
)
def test_a_gpu_takes_as_many_as_fill_it_and_fit(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], gigabytes: int, count: int
) -> None:
    gpu_of(monkeypatch, gigabytes)
    assert default_micro_batch(GPU, size) == count
    assert default_micro_batch(CPU, size) == 8


def test_a_cpu_resumes_with_the_store_of_a_gpu_in_batches_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [micro_batch_on(CPU, recorded) for recorded in (4, 8, 32, 512)] == [4, 8, 8, 8]
    assert [micro_batch_on(GPU, recorded) for recorded in (4, 8, 32, 512)] == [4, 8, 32, 512]


def test_a_reader_on_a_gpu_draws_what_is_asked_for_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_of(monkeypatch, 80)
    assert [on_demand(GPU, 8, asked=asked, image_size=(256, 128)) for asked in (1, 8, 9, 32, 5000)] == [
        8,
        8,
        16,
        32,
        256,
    ]
    assert [on_demand(CPU, 8, asked=asked, image_size=(256, 128)) for asked in (1, 32, 5000)] == [8, 8, 8]
