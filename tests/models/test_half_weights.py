"""Weights cast once give the bits of weights cast at each use."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dgaug.models.decoder import Decoder
from dgaug.models.half_weights import with_half_weights
from dgaug.models.reid import ReidNetwork, soft_labels


@pytest.mark.parametrize("head", ["linear", "bnneck", "stripes"])
@torch.no_grad()
def test_labels_are_the_same_bits(head: str) -> None:
    torch.manual_seed(0)
    teacher = ReidNetwork("small", 6, dropouts=(0.5,), pool="avg", embedding=16, head=head).eval()
    images = torch.randn(2, 3, 64, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(soft_labels(with_half_weights(teacher), images), soft_labels(teacher, images))


@torch.no_grad()
def test_images_are_the_same_bits_and_the_network_stays_as_it_is() -> None:
    torch.manual_seed(0)
    decoder = Decoder(16).eval()
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    half = with_half_weights(decoder)
    maps = torch.randn(2, 16, 16, 8).bfloat16().contiguous(memory_format=torch.channels_last)
    adain = torch.randn(2, 4, 2, 2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(half(maps, adain), decoder(maps, adain))
    assert {name: str(tensor.dtype) for name, tensor in decoder.state_dict().items()} == dict.fromkeys(
        before, "torch.float32"
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in decoder.state_dict().items())
    assert torch.bfloat16 in {parameter.dtype for parameter in half.parameters()}


def test_a_layer_that_does_more_with_its_weights_is_left_alone() -> None:
    class Standardised(nn.Conv2d):
        pass

    assert with_half_weights(Standardised(3, 4, 3)).weight.dtype == torch.float32
