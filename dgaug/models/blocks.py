"""Blocks shared by the structure encoder, the decoder and the discriminator.

Everywhere below a convolution block is: reflection pad, convolution with bias, normalisation, activation.
Shapes: B pictures, C channels, H x W map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAKY_SLOPE = 0.2
EPSILON = 1e-5


def scaled(channels: int, width: float) -> int:
    """Channels of a layer whose full width is `channels`, at a relative `width`; never under 4."""
    return max(4, round(channels * width))


def leaky(maps: Tensor) -> Tensor:
    """Leaky ReLU with the slope used by every block."""
    return functional.leaky_relu(maps, LEAKY_SLOPE)


class Conv(nn.Module):
    """Reflection pad, then convolution with bias: [B, C_in, H, W] to [B, C_out, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.pad = (kernel // 2) * dilation
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, dilation=dilation)

    def forward(self, maps: Tensor) -> Tensor:
        """Pad by reflection and convolve."""
        if self.pad:
            maps = functional.pad(maps, (self.pad,) * 4, mode="reflect")
        convolved: Tensor = self.conv(maps)
        return convolved


def instance_norm(maps: Tensor) -> Tensor:
    """Zero mean and unit (biased) variance per picture and channel; no parameters, no running statistics."""
    normalised: Tensor = functional.instance_norm(maps, eps=EPSILON)
    return normalised


def adaptive_instance_norm(maps: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """AdaIN (Huang and Belongie, 2017): `scale` and `shift` [B, C] replace each channel's own statistics."""
    return torch.addcmul(shift[:, :, None, None], scale[:, :, None, None], instance_norm(maps))


class LayerNorm(nn.Module):
    """Normalises each picture over all its channels and pixels (unbiased deviation), then scales per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(channels).uniform_())
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise [B, C, H, W] in float32, whatever the precision of the maps."""
        wide = maps.float()
        deviation, mean = torch.std_mean(wide, dim=(1, 2, 3), keepdim=True)
        wide = (wide - mean) / (deviation + EPSILON)
        return (wide * self.gamma[:, None, None] + self.beta[:, None, None]).to(maps.dtype)


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
