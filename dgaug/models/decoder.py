"""Decoder: a structure code and AdaIN parameters to an image (method: decoder)."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from dgaug.models.blocks import (
    Conv,
    LayerNorm,
    NetworkWithArithmetic,
    adaptive_instance_norm,
    initialise_kaiming,
    leaky,
    scaled,
)
from dgaug.models.upsampling import UpsampledConv

BLOCKS = 4
"""Residual blocks of the decoder, hence slices of an appearance code."""
HIDDEN = 512


class AdaINParameters(nn.Module):
    """Eight small MLPs that turn an appearance code into the decoder's AdaIN parameters.

    The code is cut into four slices, one per residual block; a "scale" and a "shift" MLP read each slice
    (Linear, LReLU, Linear, LReLU, Linear). The eight run as batched products over stacked weights
    [8, in, out], ordered block 0 scale, block 0 shift, block 1 scale, ...
    """

    def __init__(self, code_length: int, channels: int, width: float = 1.0) -> None:
        super().__init__()
        self.slice_length = code_length // BLOCKS
        self.channels = channels
        sizes = [self.slice_length, scaled(HIDDEN, width), scaled(HIDDEN, width), 2 * channels]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for inputs, outputs in itertools.pairwise(sizes):
            self.weights.append(nn.Parameter(torch.randn(2 * BLOCKS, inputs, outputs) * (2 / inputs) ** 0.5))
            self.biases.append(nn.Parameter(torch.zeros(2 * BLOCKS, 1, outputs)))

    def forward(self, appearance: Tensor) -> Tensor:
        """Parameters [B, 4 blocks, 2 (scale, shift), 2 convolutions, C] of appearance codes [B, code]."""
        slices = appearance.view(-1, BLOCKS, self.slice_length).transpose(0, 1)
        hidden = slices.repeat_interleave(2, dim=0)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias.to(hidden.dtype), hidden, weight.to(hidden.dtype))
            if layer < 2:
                hidden = leaky(hidden)
        return hidden.transpose(0, 1).reshape(-1, BLOCKS, 2, 2, self.channels)


class AdaptiveBlock(nn.Module):
    """Residual block whose two normalisations take their statistics from the appearance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels, 3)
        self.second = Conv(channels, channels, 3)

    def forward(self, maps: Tensor, parameters: Tensor) -> Tensor:
        """Add the residual; parameters [B, 2 (scale, shift), 2 convolutions, C]."""
        scale, shift = (kind.unbind(1) for kind in parameters.unbind(1))
        hidden = leaky(adaptive_instance_norm(self.first(maps), scale[0], shift[0]))
        return maps + adaptive_instance_norm(self.second(hidden), scale[1], shift[1])


class Decoder(NetworkWithArithmetic):
    """Structure codes [B, C, H / 4, W / 4] and AdaIN parameters to images [B, 3, H, W], unbounded."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.blocks = nn.ModuleList(AdaptiveBlock(channels) for _ in range(BLOCKS))
        self.upsample = nn.ModuleList([UpsampledConv(channels, half), UpsampledConv(half, quarter)])
        self.norms = nn.ModuleList([LayerNorm(half), LayerNorm(quarter)])
        self.refine = nn.ModuleList([Conv(quarter, quarter, 3), Conv(quarter, quarter, 3)])
        self.colour = Conv(quarter, 3, 1)
        initialise_kaiming(self)

    def forward(self, structure: Tensor, parameters: Tensor) -> Tensor:
        """Images in the ImageNet-normalised space."""
        maps = structure
        for block, own in zip(self.blocks, parameters.unbind(1), strict=True):
            maps = block(maps, own)
        for upsample, norm in zip(self.upsample, self.norms, strict=True):
            maps = leaky(norm(upsample(maps)))
        for conv in self.refine:
            maps = leaky(conv(maps))
        image: Tensor = self.colour(maps)
        return image
