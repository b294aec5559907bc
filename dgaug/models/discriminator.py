"""Multi-scale patch discriminator (method: discriminator)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgaug.models.blocks import Conv, ResidualBlock, as_published, leaky, scaled
from dgaug.models.convolution import convolve

SCALES = 3
REDUCTION = 4
SMALLEST_MAP = 2
"""A 3x3 convolution with reflection padding needs a map of at least this side."""


class PatchDiscriminator(nn.Module):
    """One scale: images [B, 3, H, W] to patch scores [B, 1, H / 4, W / 4]; no normalisation."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        narrow, wide = scaled(32, width), scaled(64, width)
        self.stem = nn.ModuleList(
            [
                Conv(3, narrow, 1),
                Conv(narrow, narrow, 3),
                Conv(narrow, narrow, 3, stride=2),
                Conv(narrow, narrow, 3),
                Conv(narrow, wide, 3, stride=2),
            ]
        )
        self.residual = nn.Sequential(*(ResidualBlock(wide, normalise=False) for _ in range(4)))
        self.score = nn.Conv2d(wide, 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
                nn.init.zeros_(layer.bias) if layer.bias is not None else None

    def forward(self, images: Tensor) -> Tensor:
        """Patch scores, 1 for real and 0 for generated."""
        maps = images
        for layer in self.stem:
            maps = leaky(layer(maps))
        return convolve(self.score, self.residual(maps))


class Discriminator(nn.Module):
    """The same patch network, with weights of its own, on the image and on its halved versions."""

    def __init__(self, image_size: tuple[int, int], width: float = 1.0) -> None:
        super().__init__()
        smallest = min(image_size) // REDUCTION
        scales = max(1, sum(smallest >> scale >= SMALLEST_MAP for scale in range(SCALES)))
        self.scales = nn.ModuleList(PatchDiscriminator(width) for _ in range(scales))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Patch scores of each scale, largest first."""
        if images.is_cuda and not as_published():  # nothing here makes another layout slower
            images = images.contiguous(memory_format=torch.channels_last)
        scores = []
        for index, scale in enumerate(self.scales):
            if index:
                images = functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
            scores.append(scale(images))
        return scores
