"""Blocks shared by the structure encoder, the decoder and the discriminator.

Everywhere below a convolution block is: reflection pad, convolution with bias, normalisation, activation.
Shapes: B images, C channels, H x W map.

The same layers are computed in two ways: fast, or step by step as published. Both agree to rounding. Where a gradient
passes a maximum or a rectifier, rounding decides which way it goes, so only the same steps in the same order give the
same gradients to more than about one percent (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from dgaug.models.convolution import convolve

LEAKY_SLOPE = 0.2
EPSILON = 1e-5
FLAT = EPSILON / 128
"""A channel of an image with less variance counts as constant; the reciprocal root tells no less apart in bfloat16."""
# Of each thread its own: batches are encoded and decoded in threads side by side.
_published = ContextVar("_published", default=False)


@contextmanager
def arithmetic(kind: str) -> Iterator[None]:
    """Compute what runs inside, in this thread, as `published` or `fast`."""
    before = _published.set(kind == "published")
    try:
        yield
    finally:
        _published.reset(before)


def as_published() -> bool:
    """Whether layers are to be computed step by step as published; what is compiled never is."""
    return not torch.compiler.is_compiling() and _published.get()


class NetworkWithArithmetic(nn.Module):
    """A network that may know how it computes, whoever calls it and in whatever thread.

    Attributes:
        arithmetic: `published` or `fast`; None: as the surrounding block of `arithmetic` says, else `fast`.
    """

    arithmetic: str | None = None

    # Around the call, not in `forward`: a compiled network need not trace the change.
    def __call__(self, *inputs: Any) -> Any:
        """Compute in the network's own arithmetic."""
        if self.arithmetic is None:
            return super().__call__(*inputs)
        with arithmetic(self.arithmetic):
            return super().__call__(*inputs)


def scaled(channels: int, width: float) -> int:
    """Channels of a layer whose full width is `channels`, at a relative `width`; never under 4."""
    return max(4, round(channels * width))


def leaky(maps: Tensor) -> Tensor:
    """Leaky ReLU with the slope used by every block."""
    return functional.leaky_relu(maps, LEAKY_SLOPE)


def plain(maps: Tensor) -> bool:
    """Whether layers are computed by PyTorch's own kernels, step by step: as published, and on a GPU.

    A GPU pays for every kernel that it launches, a CPU for every product: what saves products here makes more kernels.
    """
    return as_published() or maps.is_cuda


def _compiled_for_gpu(maps: Tensor) -> bool:
    """Whether a compiler reads this: it fuses what is spelled out, in whatever layout convolutions want."""
    return maps.is_cuda and torch.compiler.is_compiling()


def reflect(maps: Tensor, width: int) -> Tensor:
    """Pad height and width by reflection; autocast would widen to float32 for what only copies."""
    with torch.autocast(maps.device.type, enabled=False):
        innermost = maps.is_contiguous(memory_format=torch.channels_last) and not maps.is_contiguous()
        if maps.is_cuda and innermost and not torch.compiler.is_compiling():
            return _reflect_channels_last(maps, width)
        return functional.pad(maps, (width,) * 4, mode="reflect")


def _reflect_channels_last(maps: Tensor, width: int) -> Tensor:
    """Like PyTorch's reflection pad in two dimensions, which on a GPU would return channels outermost.

    To a pad in three dimensions height, width and channels are depth, height and width.
    """
    padded = functional.pad(maps.permute(0, 2, 3, 1), (0, 0, width, width, width, width), mode="reflect")
    return padded.permute(0, 3, 1, 2)


class Conv(nn.Module):
    """Reflection pad, then convolution with bias: [B, C_in, H, W] to [B, C_out, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.pad = (kernel - 1) // 2 * dilation
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, dilation=dilation)

    def forward(self, maps: Tensor) -> Tensor:
        """Pad by reflection and convolve."""
        if not plain(maps):  # channels innermost is the layout that oneDNN is fastest in
            maps = maps.contiguous(memory_format=torch.channels_last)
        if self.pad:
            maps = reflect(maps, self.pad)
        return convolve(self.conv, maps)


def instance_norm(maps: Tensor) -> Tensor:
    """Zero mean and unit (biased) variance per image and channel; no parameters, no running statistics.

    No gradient passes a constant channel. Its norm would multiply gradients by 316, stacked norms by more than float32
    holds; and what lies behind it gets zero from a constant channel by exact arithmetic too.
    """
    if as_published():
        return functional.instance_norm(constant_cut(maps), eps=EPSILON)
    return _adapted(maps, None, None)


def adaptive_instance_norm(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """AdaIN (Huang and Belongie, 2017): `scale` and `shift` [B, C] replace each channel's own statistics.

    No gradient passes a constant channel to `maps`, as in `instance_norm`.
    """
    if as_published():  # batch norm of one "image" that has the channels of all
        planes = constant_cut(maps).reshape(1, -1, *maps.shape[2:])
        adapted = functional.batch_norm(planes, None, None, scale.flatten(), shift.flatten(), True, eps=EPSILON)
        return adapted.view(maps.shape)
    return _adapted(maps, scale, shift)


def _adapted(maps: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    if _compiled_for_gpu(maps):
        return spelled_out_norm(maps, scale, shift)
    norm = _PlaneNorm if maps.is_cuda else _InstanceNorm
    changed: Tensor = norm.apply(maps, scale, shift)
    return changed


def spelled_out_norm(maps: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
    """Instance norm, then `scale` and `shift` [B, C], for a compiler, which fuses its steps with those around it."""
    values = maps.float()
    variance, mean = torch.var_mean(values, dim=(2, 3), correction=0, keepdim=True)
    normalised = (values - mean) * (variance + EPSILON).rsqrt()
    normalised = torch.where(variance < FLAT, normalised.detach(), normalised)
    if scale is not None and shift is not None:
        factor, level = (rows.unsqueeze(2).unsqueeze(3) for rows in (scale, shift))
        normalised = normalised * factor + level
    return normalised.to(maps.dtype)


def constant_cut(maps: Tensor) -> Tensor:
    """The same maps, without the graph behind constant channels."""
    variance = maps.detach().var(dim=(2, 3), correction=0, keepdim=True)
    return torch.where(variance < FLAT, maps.detach(), maps)


def _zero_where_constant(factor: Tensor) -> Tensor:
    """Reciprocal deviations for a backward pass, see `instance_norm`."""
    return factor.masked_fill(factor > (EPSILON + FLAT) ** -0.5, 0)


class _PlaneNorm(torch.autograd.Function):
    """Instance norm with an optional scale and shift per image and channel [B, C], in one kernel of a GPU.

    It is batch norm of one "image" that has the channels of all.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        """Normalise; the result has channels outermost."""
        planes = maps.reshape(1, -1, *maps.shape[2:])
        weight, bias = (None if rows is None else rows.reshape(-1) for rows in (scale, shift))
        normalised, mean, factor = torch.native_batch_norm(planes, weight, bias, None, None, True, 0.0, EPSILON)
        ctx.save_for_backward(planes, weight, mean, factor)
        return normalised.view(maps.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Gradients of maps, scale and shift."""
        planes, weight, mean, factor = ctx.saved_tensors
        factor = _zero_where_constant(factor)
        wanted = [True, weight is not None, weight is not None]
        maps, *rows = torch.ops.aten.native_batch_norm_backward(
            slope.reshape(planes.shape), planes, weight, None, None, mean, factor, True, EPSILON, wanted
        )
        scale, shift = (None if weight is None else one.view(slope.shape[:2]) for one in rows)
        return maps.view(slope.shape), scale, shift


class _InstanceNorm(torch.autograd.Function):
    """Instance norm with an optional scale and shift per image and channel [B, C].

    PyTorch's own copies channels-last maps to another layout and back, forward and backward. This one keeps only
    the normalised maps for its backward pass.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
        """Normalise; group norm with a group for each channel has the same statistics."""
        images, channels, height, width = maps.shape
        # Centred first, because on channels-last maps group norm takes its variance as a difference of squares.
        centred = maps - maps.mean(dim=(2, 3), keepdim=True)
        normalised, _, factor = torch.native_group_norm(
            centred, None, None, images, channels, height * width, channels, EPSILON
        )
        factor = _zero_where_constant(factor)[:, :, None, None]
        if scale is None or shift is None:
            ctx.save_for_backward(normalised, factor)
            return normalised
        scale = scale[:, :, None, None].to(maps.dtype)
        ctx.save_for_backward(normalised, factor * scale)
        return torch.addcmul(shift[:, :, None, None].to(maps.dtype), normalised, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Gradients of maps, scale and shift: what is left of the slope without its part along mean and deviation."""
        normalised, factor = ctx.saved_tensors
        level = slope.mean(dim=(2, 3), keepdim=True)
        along = (slope * normalised).mean(dim=(2, 3), keepdim=True)
        factor = factor.to(slope.dtype)
        maps = torch.addcmul(torch.addcmul(-factor * level, slope, factor), normalised, -factor * along)
        if not any(ctx.needs_input_grad[1:]):
            return maps, None, None
        count = slope[0, 0].numel()
        return maps, along.flatten(1) * count, level.flatten(1) * count


class LayerNorm(nn.Module):
    """Normalises each image over all its channels and pixels (unbiased deviation), then scales per channel.

    The published form divides by deviation + 1e-5, the fast one by the root of variance + 1e-10, for which there is a
    kernel: the same at both ends, and 1e-5 apart (relative) where the deviation is about 1.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels).uniform_())
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise [B, C, H, W], with statistics in float32 whatever the precision of the maps."""
        if as_published():
            return self._as_published(maps)
        if _compiled_for_gpu(maps):
            return self.spelled_out(maps)
        count = maps[0].numel()
        unbiased = self.gamma * ((count - 1) / count) ** 0.5
        return functional.group_norm(maps, 1, unbiased, self.beta, EPSILON**2).to(maps.dtype)

    def spelled_out(self, maps: Tensor) -> Tensor:
        """The same for a compiler."""
        values = maps.float()
        variance, mean = torch.var_mean(values, dim=(1, 2, 3), keepdim=True)
        normalised = (values - mean) * (variance + EPSILON**2).rsqrt()
        factor, level = (rows.view(-1, 1, 1) for rows in (self.gamma, self.beta))
        return (normalised * factor + level).to(maps.dtype)

    def _as_published(self, maps: Tensor) -> Tensor:
        rows = maps.float().flatten(1)
        mean, deviation = (statistic[:, None, None, None] for statistic in (rows.mean(dim=1), rows.std(dim=1)))
        normalised = (maps - mean) / (deviation + EPSILON)
        return (normalised * self.gamma[:, None, None] + self.beta[:, None, None]).to(maps.dtype)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and the input added; instance norm or none; no activation after the addition."""

    def __init__(self, channels: int, *, normalise: bool) -> None:
        super().__init__()
        self.first = Conv(channels, channels, 3)
        self.second = Conv(channels, channels, 3)
        self.normalise = normalise

    def forward(self, maps: Tensor) -> Tensor:
        """Add the residual to [B, C, H, W]."""
        if not self.normalise:
            plain: Tensor = self.second(leaky(self.first(maps)))
            return maps + plain
        return maps + instance_norm(self.second(leaky(instance_norm(self.first(maps)))))


def initialise_kaiming(module: nn.Module) -> None:
    """Kaiming normal (fan in, a = 0) weights and zero biases for every convolution below `module`."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=0, mode="fan_in")
            nn.init.zeros_(layer.bias) if layer.bias is not None else None
