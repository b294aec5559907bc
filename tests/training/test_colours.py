"""Colour jitter and grey rectangles: what they change, and that every re-id model can be trained with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import tiny_settings

from dgaug.data.normalisation import normalise, to_unit
from dgaug.data.prepare import read_data
from dgaug.distributed import Processes
from dgaug.models.architectures import teacher_architecture
from dgaug.runs import Run
from dgaug.settings import FeedSettings, ReidSettings
from dgaug.training.augmentation import greyed, jittered, sample_factors
from dgaug.training.batches import LabelledImages
from dgaug.training.reid_loop import ReidJob, train_reid_network
from dgaug.training.reid_losses import fullest_iteration, generated_at, term_weights


@pytest.fixture
def images() -> torch.Tensor:
    pixels = np.random.default_rng(0).integers(60, 180, size=(2, 8, 4, 3), dtype=np.uint8)
    return normalise(torch.from_numpy(pixels))


def test_factors_of_one_change_nothing(images: torch.Tensor) -> None:
    assert torch.allclose(jittered(images, np.ones((2, 3), np.float32)), images, atol=1e-5)


def test_each_factor_changes_what_its_name_says(images: torch.Tensor) -> None:
    darker, flat, grey = (
        to_unit(jittered(images, np.array([factors] * 2, np.float32)))
        for factors in ((0.5, 1, 1), (1, 0, 1), (1, 1, 0))
    )
    assert torch.allclose(darker, 0.5 * to_unit(images), atol=1e-5)
    assert flat.std(dim=(1, 2, 3)).max() < 1e-5
    assert (grey - grey.mean(dim=1, keepdim=True)).abs().max() < 1e-5
    assert grey.std() > 0.05
    factors = sample_factors(1000, 0.2, np.random.default_rng(1))
    assert 0.8 <= factors.min() < 0.81 < 1.19 < factors.max() <= 1.2


def test_only_the_box_loses_its_colour(images: torch.Tensor) -> None:
    changed = to_unit(greyed(images, [(1, 1, 5, 3), (0, 0, 0, 0)]))
    box = changed[0, :, 1:5, 1:3]
    assert torch.allclose(box, box.mean(dim=0, keepdim=True).expand_as(box), atol=1e-5)
    rest = torch.ones(8, 4, dtype=torch.bool)
    rest[1:5, 1:3] = False
    assert torch.allclose(changed[0][:, rest], to_unit(images)[0][:, rest], atol=1e-6)
    assert torch.allclose(changed[1], to_unit(images)[1], atol=1e-6)


@pytest.mark.parametrize("changed", [{"jitter": 0.3}, {"local_grey": 1.0}])
def test_training_sees_other_colours(tiny_run: Run, tmp_path: Path, changed: dict[str, float]) -> None:
    settings = tiny_settings()
    data = read_data(tiny_run.data_root(), settings.data)
    shown = LabelledImages.of(data, settings.data.image_size)
    job = ReidJob(
        shown,
        ReidSettings(iterations=2, batch_size=8),
        settings.data,
        teacher_architecture(settings, len(shown.class_names)),
        weights="none",
        seed=0,
    )
    losses = []
    for name, one in (("plain", job), ("changed", replace(job, settings=job.settings.model_copy(update=changed)))):
        train_reid_network(
            one,
            tmp_path / f"{name}.pt",
            processes=Processes(torch.device("cpu")),
            save_every=100,
            on_log=lambda _, terms: losses.append(terms["total"]),
        )
    assert losses[0] != losses[2]


def test_the_second_stage_sees_real_images_only() -> None:
    settings = FeedSettings(iterations=10, stop_generated=0.7, ramp_length=0)
    assert [term_weights(settings, iteration)["teacher"] > 0 for iteration in range(10)] == [True] * 7 + [False] * 3
    assert all(term_weights(FeedSettings(iterations=10), iteration)["teacher"] > 0 for iteration in range(10))


def test_ratio_and_weight_of_generated_images_change_from_the_first_step_to_the_last() -> None:
    settings = FeedSettings(iterations=11, batch_size=8, ratio=1, ratio_end=0, teacher=2, teacher_end=0, ramp_length=0)
    assert [generated_at(settings, iteration) for iteration in (0, 5, 10)] == [8, 4, 2]
    assert [term_weights(settings, iteration)["teacher"] for iteration in (0, 5, 10)] == [2, 1, 0]
    growing = FeedSettings(iterations=11, batch_size=8, ratio=0.5, ratio_end=2, accumulation=2)
    assert [generated_at(growing, iteration) for iteration in (0, 10)] == [4, 16]
    assert fullest_iteration(growing) == 10
    assert [generated_at(FeedSettings(iterations=11, batch_size=8), iteration) for iteration in (0, 10)] == [8, 8]
