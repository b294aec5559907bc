"""What the structure encoder sees in training: by default plain grey, else one that clothing cannot be read from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from one_step import CLASSES, ITERATION, SIDE, networks_of
from test_resume import StopAt
from tiny_run import assert_same_checkpoint, tiny_settings, write_config
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from dgaug.errors import DgaugError, Interrupted
from dgaug.models.structure_encoder import grey
from dgaug.seeding import draws
from dgaug.settings import StructureInputSettings, load_settings
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import Batch
from dgaug.training.structure_input import sample_numbers, structure_input
from dgaug.training.train import train

ALL = {"mixing": "random", "print": 0.7, "region": "middle"}
COUNT = 8


def images(count: int = COUNT) -> Tensor:
    return torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(0))


def seen(given: Tensor, *place: int, **settings: object) -> Tensor:
    chosen = StructureInputSettings.model_validate(settings)
    return structure_input(given, sample_numbers(len(given), chosen, draws("test", 0, *place)), chosen)


def test_by_default_it_is_the_mean_of_the_channels() -> None:
    assert torch.equal(seen(images()), grey(images()))


def test_random_weights_are_of_either_sign_and_of_one_length_and_other_for_every_image() -> None:
    basis = torch.eye(3)[:, :, None, None].expand(3, 3, 16, 16)
    weights = torch.stack([seen(basis[[k] * COUNT], mixing="random")[:, 0, 0, 0] for k in range(3)], dim=1)
    assert torch.allclose(weights.square().sum(dim=1), torch.full((COUNT,), 1 / 3))
    assert weights.unique(dim=0).shape == weights.shape
    assert (weights.sum(dim=1) > 0).any()
    assert (weights.sum(dim=1) < 0).any()


def test_a_print_covers_a_rectangle_with_two_or_three_levels() -> None:
    added = seen(images(), print=1.0) - grey(images())
    for image in added:
        levels = image[image.abs() > 1e-5].abs()
        assert 0 < len(levels) < image.numel()
        assert levels.max() - levels.min() < 1e-5
    assert torch.equal(seen(images(), print=0.0), grey(images()))


def test_the_background_may_keep_its_grey() -> None:
    difference = (seen(images(), mixing="random", region="middle") - grey(images())).abs().mean(dim=(0, 1, 2))
    assert difference[[0, -1]].max() < 0.4 * difference[16]


def test_it_belongs_to_the_iteration() -> None:
    assert torch.equal(seen(images(), 3, **ALL), seen(images(), 3, **ALL))
    assert not torch.equal(seen(images(), 3, **ALL), seen(images(), 4, **ALL))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("structure_input.region=middle", "region: middle needs mixing: random, or print above 0"),
        ("structure_input.print=2", "structure_input.print = 2"),
        ("structure_input.mixing=grey", "structure_input.mixing = 'grey'"),
        ("loss.teacher_feature=-1", "loss.teacher_feature = -1"),
    ],
)
def test_settings_that_mean_nothing_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(DgaugError, match=said) as caught:
        load_settings("market1501", overrides=[text])
    assert "\n" not in str(caught.value)


def test_the_published_training_has_none_of_it() -> None:
    published = load_settings("dgnet-published")
    assert published.structure_input == StructureInputSettings()
    assert (published.loss.teacher_identity, published.loss.teacher_feature) == (0, 0)


def test_the_fixed_teacher_says_whether_the_appearance_donor_is_seen() -> None:
    settings = tiny_settings(loss={"teacher_identity": 1.0, "teacher_feature": 2.0}, schedule={"batch_size": SIDE})
    model = DGNet(networks_of(settings), settings)
    given, positives = images(2 * SIDE), images(2 * SIDE)
    batch = Batch(given, positives, torch.arange(2 * SIDE) % CLASSES)
    generator, teacher = model.networks.generator, model.networks.teacher
    assert teacher is not None
    with torch.no_grad():
        codes = model.networks.appearance.eval()(given).appearance
        fakes = generator(generator.structure(given).roll(SIDE, 0), codes)
        fake, real = teacher.eval()(fakes), teacher(given)
    identity = 2 * cross_entropy(fake.logits[0], batch.labels)
    feature = 2 * (1 - cosine_similarity(fake.embeddings[0], real.embeddings[0])).mean()
    report = model.step([batch], ITERATION)
    assert report["teacher_identity"] == pytest.approx(float(identity), rel=1e-4)
    assert report["teacher_feature"] == pytest.approx(float(feature), rel=1e-4)
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_images_and_generated_images_are_seen_in_greys_of_their_own() -> None:
    settings = tiny_settings(structure_input=ALL, schedule={"batch_size": SIDE})
    model, chosen = DGNet(networks_of(settings), settings), settings.structure_input
    given = images(2 * SIDE)
    batch = Batch(given, given, torch.arange(2 * SIDE) % CLASSES)
    generator = model.networks.generator
    (plan,) = model._plans([batch], ITERATION)
    assert not torch.equal(*plan.greys)
    with torch.no_grad():
        structure = generator.structure_encoder(structure_input(given, plan.greys[0], chosen)).roll(SIDE, 0)
        fakes = generator(structure, model.networks.appearance.eval()(given).appearance)
        again = generator.structure_encoder(structure_input(fakes, plan.greys[1], chosen))
    expected = 2 * (again - structure).abs().mean()
    assert model.step([batch], ITERATION)["structure_code"] == pytest.approx(float(expected), rel=1e-4)


def test_a_run_that_uses_everything_resumes_to_the_same_bits(tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "a.yaml",
        model={"discriminator": "paired"},
        structure_input=ALL,
        loss={"teacher_identity": 0.5, "teacher_feature": 1.0},
        schedule={"adversarial_start": 0.75},
    )
    whole = train(config=config, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(config=config, out=tmp_path / "parts", progress=StopAt("DG-Net", 5))
    parts = train(out=tmp_path / "parts", resume=True)
    assert_same_checkpoint(parts.checkpoint, whole.checkpoint)
