"""Gradients of the blocks that write their own backward pass, and their precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dgaug.models.blocks import adaptive_instance_norm, instance_norm

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def maps_of(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norms_have_the_right_values_and_gradients(layout: torch.memory_format) -> None:
    maps, scale, shift = maps_of(2, 3, 4, 5, layout=layout), maps_of(2, 3), maps_of(2, 3)
    assert torch.allclose(instance_norm(maps), functional.instance_norm(maps))
    assert torch.autograd.gradcheck(instance_norm, (maps,))
    assert torch.autograd.gradcheck(adaptive_instance_norm, (maps, scale, shift))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_keeps_its_precision_where_the_mean_is_large(layout: torch.memory_format) -> None:
    maps = (maps_of(1, 2, 64, 32).detach() + 100).float().contiguous(memory_format=layout)
    exact = functional.instance_norm(maps.double())
    assert (instance_norm(maps) - exact).norm() / exact.norm() < 1e-5
