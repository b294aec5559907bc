"""Each term against the sum over both sides, written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dgaug.training import losses

B = 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def both(value: float | Tensor) -> float:
    return pytest.approx(float(value), rel=1e-5)


def test_partners_are_the_rows_of_the_other_side() -> None:
    assert losses.partners(torch.arange(6)).tolist() == [3, 4, 5, 0, 1, 2]
    rows = torch.randn(8, 2)
    assert torch.equal(losses.partners(losses.partners(rows)), rows)


def test_reconstruction_is_the_mean_absolute_error_of_each_side_added() -> None:
    image, target = torch.randn(2, 2 * B, 3, 4, 4)
    sides = sum((image[rows] - target[rows]).abs().mean() for rows in (slice(B), slice(B, None)))
    assert float(losses.reconstruction(image, target)) == both(sides)


def test_identification_is_the_cross_entropy_of_each_side_added() -> None:
    logits, labels = torch.randn(2 * B, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    of_each = -(logits - logits.exp().sum(1, keepdim=True).log())[range(2 * B), labels]
    assert float(losses.identification(logits, labels)) == both(of_each[:B].mean() + of_each[B:].mean())


def test_the_teacher_term_sums_over_classes_and_means_over_images() -> None:
    logits, label = torch.randn(2 * B, 5), torch.randn(2 * B, 5).softmax(1)
    divergence = (label * (label / logits.softmax(1)).log()).sum(1)
    result = losses.teacher_divergence(logits, label)
    assert float(result) == both(divergence[:B].mean() + divergence[B:].mean())


def test_the_teacher_term_is_zero_for_the_teachers_own_opinion_and_takes_certain_labels() -> None:
    logits = torch.randn(2 * B, 5)
    assert float(losses.teacher_divergence(logits, logits.softmax(1))) == pytest.approx(0, abs=1e-6)
    certain = torch.eye(5)[[0, 1, 2, 3, 4, 0]]
    expected = losses.identification(logits, torch.tensor([0, 1, 2, 3, 4, 0]))
    assert float(losses.teacher_divergence(logits, certain)) == both(expected)


def test_the_discriminator_pulls_real_to_one_and_generated_to_zero() -> None:
    real, generated = ([torch.randn(2 * B, 1, side, side) for side in (4, 2)] for _ in range(2))
    expected = sum(
        (true[rows] - 1).square().mean() + fake[rows].square().mean()
        for true, fake in zip(real, generated, strict=True)
        for rows in (slice(B), slice(B, None))
    )
    assert float(losses.patch_error(real, 1) + losses.patch_error(generated, 0)) == both(expected)


def test_the_generators_side_is_doubled_and_pulls_to_one() -> None:
    scores = [torch.randn(2 * B, 1, side, side) for side in (4, 2)]
    expected = sum(2 * (maps[rows] - 1).square().mean() for maps in scores for rows in (slice(B), slice(B, None)))
    assert float(losses.adversarial(scores)) == both(expected)
    assert float(losses.adversarial([torch.ones(2, 1, 4, 4)])) == 0


def test_the_gradient_penalty_is_the_squared_norm_at_the_real_images_scale_by_scale() -> None:
    images = torch.randn(2 * B, 3, 4, 4, requires_grad=True)
    scores = [images.square().sum(dim=1, keepdim=True), images.mean(dim=(2, 3), keepdim=True).pow(3)]
    gradients = [2 * images, 3 * images.mean(dim=(2, 3), keepdim=True).square().expand_as(images) / 16]
    of_each = sum(gradient.square().sum(dim=(1, 2, 3)) for gradient in gradients)
    result = losses.gradient_penalty(scores, images)
    assert float(result.detach()) == both((of_each[:B].mean() + of_each[B:].mean()).detach())
    assert result.requires_grad, "the penalty must train the discriminator"
