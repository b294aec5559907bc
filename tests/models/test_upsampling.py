"""The phase form of upsampling and convolution is the direct form, with its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dgaug.models.upsampling import UpsampledConv

SIZES = [(2, 2), (2, 5), (3, 2), (4, 4), (7, 5), (16, 8)]


def direct(layer: UpsampledConv, maps: Tensor) -> Tensor:
    large = functional.interpolate(maps, scale_factor=2.0, mode="nearest")
    return layer.conv(functional.pad(large, (2, 2, 2, 2), mode="reflect"))


def relative(result: Tensor, wanted: Tensor) -> float:
    return float((result.double() - wanted.double()).norm() / wanted.double().norm())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_output_and_gradients_are_those_of_the_direct_form(
    size: tuple[int, int], memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = UpsampledConv(6, 4).double()
    maps = torch.randn(3, 6, *size, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    result, wanted = layer(maps), direct(layer, maps)
    assert result.shape == wanted.shape
    assert torch.allclose(result, wanted, rtol=0, atol=1e-12)
    slope, inputs = torch.randn_like(wanted), (maps, layer.conv.weight, layer.conv.bias)
    for mine, theirs in zip(
        torch.autograd.grad(result, inputs, slope), torch.autograd.grad(wanted, inputs, slope), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-11)


def test_the_outermost_pixels_are_as_exact_as_the_inner_ones_in_float32() -> None:
    torch.manual_seed(0)
    layer, maps = UpsampledConv(32, 16), torch.randn(2, 32, 16, 8)
    with torch.no_grad():
        result, wanted = layer(maps), direct(layer, maps)
    frame = torch.ones(32, 16, dtype=torch.bool)
    frame[1:-1, 1:-1] = False
    assert relative(result[..., frame], wanted[..., frame]) < 1e-6
    assert relative(result[..., ~frame], wanted[..., ~frame]) < 1e-6


def test_bfloat16_is_no_further_from_float32_than_the_direct_form() -> None:
    torch.manual_seed(0)
    layer, maps = UpsampledConv(32, 16), torch.randn(2, 32, 16, 8)
    with torch.no_grad():
        exact = direct(layer, maps)
        with torch.autocast("cpu", torch.bfloat16):
            result, plain = layer(maps), direct(layer, maps)
    assert result.dtype == plain.dtype == torch.bfloat16
    assert relative(result, exact) < 1.5 * relative(plain, exact)


def test_weights_keep_the_name_and_shape_of_a_plain_convolution() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in UpsampledConv(6, 4).state_dict().items()}
    assert shapes == {"conv.weight": (4, 6, 5, 5), "conv.bias": (4,)}
