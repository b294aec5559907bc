"""A convolution whose input gradient is differentiated again, as the gradient penalty does.

PyTorch computes the weights' share of that as a convolution whose kernel is a whole map, with an output of 3 x 3, which
leaves most of a GPU idle: 15 launches of one cuDNN kernel took 43 of the 150 ms of an iteration on an H200 (bf16,
256 x 128, batch 8 + 8; benchmarks/results/gpu). Here it is an ordinary weight gradient, on a GPU alone: they are gone
from the 100 ms that an iteration takes on an H100.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

_penalised = ContextVar("_penalised", default=False)
_backward = torch.ops.aten.convolution_backward


@contextmanager
def penalised(on: bool) -> Iterator[None]:
    """Have what runs inside, in this thread, on a GPU, be differentiated twice by ordinary gradients."""
    before = _penalised.set(on)
    try:
        yield
    finally:
        _penalised.reset(before)


@contextmanager
def input_gradients() -> Iterator[None]:
    """Compute no gradient of weights inside; of the process, as autograd runs a GPU's share in a thread of its own."""
    _Convolution.weights_learn = False
    try:
        yield
    finally:
        _Convolution.weights_learn = True


def convolve(layer: nn.Conv2d, maps: Tensor) -> Tensor:
    """What `layer(maps)` is, [B, C_in, H, W] to [B, C_out, H', W']; inside `penalised` with gradients as above."""
    if torch.compiler.is_compiling() or not (_penalised.get() and maps.is_cuda):  # what is compiled is derived once
        convolved: Tensor = layer(maps)
        return convolved
    return twice_differentiable(layer, maps)


def twice_differentiable(layer: nn.Conv2d, maps: Tensor) -> Tensor:
    """`layer(maps)` of a layer without padding or groups, in the precision that autocast would choose."""
    weight, bias = layer.weight, layer.bias
    if torch.is_autocast_enabled(maps.device.type):
        half = torch.get_autocast_dtype(maps.device.type)
        maps, weight, bias = maps.to(half), weight.to(half), None if bias is None else bias.to(half)
    with torch.autocast(maps.device.type, enabled=False):
        twice: Tensor = _Convolution.apply(maps, weight, bias, layer.stride, layer.dilation)
    return twice


class _Convolution(Function):
    weights_learn = True

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, dilation: Any) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.steps = stride, dilation
        return torch.conv2d(maps, weight, bias, stride, 0, dilation)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        shared = kernel = bias = None
        if ctx.needs_input_grad[0]:
            shared = _InputGradient.apply(slope, weight, maps.detach(), *ctx.steps)
        if _Convolution.weights_learn and ctx.needs_input_grad[1]:
            kernel, bias = _weight_gradients(slope, maps, weight, *ctx.steps, bias=ctx.needs_input_grad[2])
        return shared, kernel, bias, None, None


class _InputGradient(Function):
    """The gradient of a convolution's input, linear in the slope of its output and in its weights."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, weight: Tensor, maps: Tensor, stride: Any, dilation: Any) -> Tensor:
        ctx.save_for_backward(slope, weight)
        ctx.steps = stride, dilation
        wanted = (True, False, False)
        gradient: Tensor
        gradient, _, _ = _backward(slope, maps, weight, None, stride, (0, 0), dilation, False, (0, 0), 1, wanted)
        return gradient

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        slope, weight = ctx.saved_tensors
        stride, dilation = ctx.steps
        back = torch.conv2d(change, weight, None, stride, 0, dilation) if ctx.needs_input_grad[0] else None
        kernel = None
        if ctx.needs_input_grad[1]:
            kernel, _ = _weight_gradients(slope, change, weight, stride, dilation, bias=False)
        return back, kernel, None, None, None


def _weight_gradients(
    slope: Tensor, maps: Tensor, weight: Tensor, stride: Any, dilation: Any, *, bias: bool
) -> tuple[Tensor, Tensor | None]:
    sizes, wanted = [len(weight)] if bias else None, (False, True, bias)
    _, kernel, level = _backward(slope, maps, weight, sizes, stride, (0, 0), dilation, False, (0, 0), 1, wanted)
    return kernel, level
