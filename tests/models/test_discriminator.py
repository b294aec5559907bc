"""Discriminator: patch maps at three scales, fewer where the image is too small."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from dgaug.models.discriminator import Discriminator


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
