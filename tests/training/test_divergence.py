"""Training with images of one colour, and what is said when training diverges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from one_step import CLASSES, SIDE, networks_of
from PIL import Image
from tiny_run import tiny_settings
from torch import Tensor

from dgaug.data.records import IdentityData, Record
from dgaug.errors import DgaugError
from dgaug.training import dgnet_loop
from dgaug.training.batches import LabelledImages, TrainingImages
from dgaug.training.dgnet import DGNet, Report
from dgaug.training.divergence import broken_weights, divergence, shown_images
from dgaug.training.losses import Batch
from dgaug.training.sampling import OrderedBatches, Share, shuffled
from dgaug.training.train import train

SIZE = (64, 32)
HEALTHY = {"discriminator": 6.0, "gradient_penalty": 900.0, "identification": 7.0, "adversarial": 12.0, "total": 50.0}


def blank(name: str) -> Tensor:
    """A normalised image without contrast [3, 64, 32], or of two values."""
    image = torch.full((3, *SIZE), -2.1179)
    if name == "one pixel":
        image[:, 10, 10] += 1 / 255 / 0.226
    if name == "stripes":
        image[:, :, ::2] = 2.6
    return image


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("arithmetic", ["fast", "published"])
@pytest.mark.parametrize("name", ["black", "one pixel", "stripes"])
def test_an_image_of_one_colour_leaves_every_weight_finite(name: str, arithmetic: str, precision: str) -> None:
    settings = tiny_settings(
        behaviour={"arithmetic": arithmetic, "precision": precision}, schedule={"batch_size": SIDE}
    )
    model = DGNet(networks_of(settings), settings)
    images, positives = torch.randn(2, 2 * SIDE, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    images[0], positives[5] = blank(name), blank(name)
    batch = Batch(images, positives, torch.arange(2 * SIDE) % CLASSES)
    for iteration in (6, 7, 8):  # every ramp of the tiny schedule is at its end
        assert divergence(model.step([batch], iteration)) is None
    assert broken_weights(model.networks.saved()) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"identification": float("nan")}, "the loss term 'identification' is not finite"),
        ({"total": float("inf")}, "the loss term 'total' is not finite"),
        ({"adversarial": 41_196.55, "total": 823_931.0}, "the loss term 'adversarial' has grown to 41,197"),
        ({"gradient_penalty": 3e6}, "the loss term 'gradient_penalty' has grown to 3,000,000"),
        ({"total": 20_000.0}, None),  # the weights of the terms are the user's
    ],
)
def test_a_training_that_explodes_is_told_from_one_that_works(change: Mapping[str, float], reason: str | None) -> None:
    assert divergence(HEALTHY | dict(change)) == reason


def write_images(folder: Path) -> LabelledImages:
    records = []
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        if number == 7:
            pixels[:] = 40
        name = f"{number % 3}-{number:02d}.png"
        Image.fromarray(pixels).save(folder / name)
        records.append(Record(name, str(number % 3)))
    return LabelledImages.of(IdentityData(folder, "test", {"train": records}), SIZE)


def test_the_images_of_a_batch_are_found_again_from_its_number(tmp_path: Path) -> None:
    images = write_images(tmp_path)
    dataset = TrainingImages(images, pad=0, positives=True)
    order = shuffled(12)
    seen = []
    shares = [Share(place, 2, 1) for place in range(2)]
    for share in shares:
        sampler = OrderedBatches(order, 4, phase="test", seed=3, streams=2, start=2, share=share)
        seen += [row for draw in next(iter(sampler)) for row in dataset.rows(draw)]
    whole = OrderedBatches(order, 4, phase="test", seed=3, streams=2, share=shares[1])
    assert sorted(row for draw in whole.whole(2) for row in dataset.rows(draw)) == sorted(seen)
    every = shown_images(dataset, whole, range(3))
    assert every == f"images of least contrast first: {every.split(': ')[1]}"
    assert every.split(": ")[1].startswith(images.names[7])
    for draw in whole.whole(0):
        views, label = dataset[draw]
        assert len(views) == len(dataset.rows(draw))
        assert {int(images.labels[row]) for row in dataset.rows(draw)} == {label}


@pytest.mark.parametrize("broken", ["terms", "weights"])
def test_a_divergence_names_the_images_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    (tmp_path / "data").mkdir()
    write_images(tmp_path / "data")
    for path in sorted((tmp_path / "data").iterdir()):
        folder = path.with_name(path.name[0])
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    whole = DGNet.step

    def step(model: DGNet, batches: list[Batch], iteration: int) -> Report:
        terms = whole(model, batches, iteration)
        if iteration == 2 and broken == "weights":
            next(model.networks.generator.parameters()).data.fill_(float("nan"))
        changed = {"total": 823_931.0, "cycle": 80_000.0} if iteration == 2 and broken == "terms" else {}
        values = dict(terms) | changed
        return Report(list(values), torch.tensor(list(values.values())))

    monkeypatch.setattr(dgnet_loop.DGNet, "step", step)
    settings = tiny_settings(teacher={"iterations": 2}, schedule={"iterations": 4})
    (tmp_path / "config.yaml").write_text(settings.to_yaml())
    with pytest.raises(DgaugError) as messages:
        train(tmp_path / "data", tmp_path / "config.yaml", out=tmp_path / "run")
    message = str(messages.value)
    assert "training diverged at iteration 2: " in message
    assert "cycle' has grown to 80,000" in message or "the weights of generator are not finite" in message
    assert "--set optimizer.clip=1" in message
    assert "least contrast first: " in message
    saved = torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)
    assert saved["iteration"] == 2
    assert all(bool(torch.isfinite(one).all()) for one in saved["networks"]["generator"].values())


def test_contrast_orders_what_a_message_names(tmp_path: Path) -> None:
    images = write_images(tmp_path)
    dataset = TrainingImages(replace(images), pad=0, positives=False)
    assert dataset.contrast(7) == 0 < min(dataset.contrast(row) for row in range(12) if row != 7)
