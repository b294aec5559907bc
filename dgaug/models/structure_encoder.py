"""Structure encoder: a grey image to its structure code (method: structure encoder)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dgaug.models.blocks import (
    Conv,
    NetworkWithArithmetic,
    ResidualBlock,
    initialise_kaiming,
    instance_norm,
    leaky,
    scaled,
)

DILATIONS = (3, 6, 9)
REDUCTION = 4
"""The structure code is this many times smaller than the image in height and width."""


def grey(images: Tensor) -> Tensor:
    """Plain mean of the three normalised colour channels: [B, 3, H, W] to [B, 1, H, W]."""
    return images.mean(dim=1, keepdim=True)


class MultiScaleBlock(nn.Module):
    """Four parallel branches, one plain and three dilated, concatenated and fused.

    A dilation too large for the map (reflection padding must stay smaller than the map) is reduced.
    """

    def __init__(self, channels: int, branch: int, smallest_side: int) -> None:
        super().__init__()
        dilations = [min(dilation, smallest_side - 1) for dilation in DILATIONS]
        self.plain = Conv(channels, branch, 1)
        self.reduce = nn.ModuleList(Conv(channels, branch, 1) for _ in dilations)
        self.dilated = nn.ModuleList(Conv(branch, branch, 3, dilation=dilation) for dilation in dilations)
        self.fuse = Conv(branch * 4, branch * 4, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Fuse the branches of [B, C, h, w] into [B, 4 * branch, h, w]."""
        branches = [instance_norm(self.plain(maps))]
        for reduce, dilated in zip(self.reduce, self.dilated, strict=True):
            branches.append(instance_norm(dilated(leaky(instance_norm(reduce(maps))))))
        return instance_norm(self.fuse(torch.cat(branches, dim=1)))


class StructureEncoder(NetworkWithArithmetic):
    """Structure encoder for images of `image_size` [H, W], both multiples of 16.

    The code is [B, 128 * width, H / 4, W / 4] with zero mean and unit variance per channel and image.
    """

    def __init__(self, image_size: tuple[int, int], width: float = 1.0) -> None:
        super().__init__()
        first, second, third = scaled(16, width), scaled(32, width), scaled(64, width)
        self.stem = nn.ModuleList(
            [
                Conv(1, first, 3, stride=2),
                Conv(first, second, 3),
                Conv(second, second, 3),
                Conv(second, third, 3, stride=2),
            ]
        )
        self.residual = nn.Sequential(*(ResidualBlock(third, normalise=True) for _ in range(4)))
        self.scales = MultiScaleBlock(third, second, min(image_size) // REDUCTION)
        self.channels = second * 4
        initialise_kaiming(self)

    def forward(self, grey_images: Tensor) -> Tensor:
        """Structure code of normalised grey images [B, 1, H, W]."""
        maps = grey_images
        for layer in self.stem:
            maps = leaky(instance_norm(layer(maps)))
        code: Tensor = self.scales(self.residual(maps))
        return code
