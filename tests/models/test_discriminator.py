"""Discriminators: patch maps at up to three scales, and what either kind can tell."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dgaug.models.discriminator import Discriminator
from dgaug.training.losses import patch_error


@pytest.mark.parametrize("size", [(128, 64), (96, 48), (64, 32), (64, 64)])
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_each_scale_gives_a_patch_map_a_quarter_of_its_image(size: tuple[int, int], width: float) -> None:
    scores = Discriminator(size, width)(torch.randn(2, 3, *size))
    assert [tuple(maps.shape) for maps in scores] == [(2, 1, size[0] >> shift, size[1] >> shift) for shift in (2, 3, 4)]


def test_the_full_network_has_the_published_number_of_parameters() -> None:
    network = Discriminator((256, 128))
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_025_571


def test_the_scales_have_weights_of_their_own() -> None:
    first, second, _ = Discriminator((64, 32), 0.25).scales
    assert not torch.equal(first.stem[0].conv.weight, second.stem[0].conv.weight)


def test_a_scale_sees_the_image_averaged_without_counting_the_padding() -> None:
    network = Discriminator((64, 32), 0.25)
    images = torch.randn(1, 3, 64, 32)
    halved = functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
    assert torch.equal(network(images)[1], network.scales[1](halved))
    flat = torch.ones(1, 3, 64, 32)
    assert torch.allclose(network(flat)[1], network.scales[1](torch.ones(1, 3, 32, 16)), atol=1e-6)


@pytest.mark.parametrize("kind", ["strided", "paired"])
@pytest.mark.parametrize(("size", "scales"), [((256, 128), 3), ((128, 64), 2), ((64, 32), 1), ((32, 16), 1)])
def test_a_strided_scale_gives_a_patch_map_an_eighth_of_its_image(
    size: tuple[int, int], scales: int, kind: str
) -> None:
    images, others = torch.randn(2, 2, 3, *size)
    scores = Discriminator(size, 0.25, kind)(images, others)
    assert [tuple(maps.shape) for maps in scores] == [
        (2, 1, size[0] // 8 >> scale, size[1] // 8 >> scale) for scale in range(scales)
    ]
    assert max(maps.abs().max() for maps in scores) < 1, "scores start near 0"


@pytest.mark.parametrize(("kind", "looks"), [("published", False), ("strided", False), ("paired", True)])
def test_only_a_paired_one_looks_at_the_other_image(kind: str, looks: bool) -> None:
    network = Discriminator((128, 64), 0.25, kind)
    images, others = torch.randn(2, 2, 3, 128, 64)
    for with_others, without in zip(network(images, others), network(images, -others), strict=True):
        assert torch.equal(with_others, without) is not looks


def test_the_penalty_of_a_strided_discriminator_teaches_its_weights() -> None:
    """The weights' gradient of the squared image gradient against central differences, in double precision."""
    torch.manual_seed(0)
    network = Discriminator((32, 16), 0.125, "strided").double()
    images = torch.randn(2, 3, 32, 16, dtype=torch.float64, requires_grad=True)
    weight = network.scales[0].convolutions[1].conv.weight
    direction, start, step = torch.randn_like(weight), weight.detach().clone(), 1e-6

    def penalty() -> Tensor:
        (gradient,) = torch.autograd.grad(network(images)[0].sum(), images, create_graph=True)
        return gradient.square().sum()

    def moved(length: float) -> float:
        weight.data = start + length * direction
        return float(penalty().detach())

    (gradient,) = torch.autograd.grad(penalty(), weight)
    assert (moved(step) - moved(-step)) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-4)


def test_a_strided_discriminator_soon_tells_blurred_images_and_the_published_one_does_not() -> None:
    """Least squares of each kind after as many updates as a short training has in its first minute; undecided is 1."""
    sharp = torch.randn(256, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    sharp = functional.avg_pool2d(sharp, 3, stride=1, padding=1)
    blurred = functional.avg_pool2d(sharp, 3, stride=1, padding=1)
    blurred *= sharp.std() / blurred.std()

    def error(kind: str) -> float:
        torch.manual_seed(0)
        network = Discriminator((64, 32), 0.25, kind)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3, betas=(0.0, 0.999))
        errors = []
        for start in range(0, 40 * 8, 8):
            rows = torch.arange(start, start + 8) % len(sharp)
            loss = patch_error(network(blurred[rows]), 0) + patch_error(network(sharp[rows]), 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            errors.append(float(loss.detach()) / len(network.scales))
        return sum(errors[-5:]) / 5

    assert error("strided") < 0.5
    assert error("published") > 0.9
