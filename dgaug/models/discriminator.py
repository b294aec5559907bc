"""Multi-scale patch discriminators, the published one and one that learns faster (method: discriminator)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgaug.models.blocks import Conv, ResidualBlock, as_published, constant_cut, leaky, reflect, scaled
from dgaug.models.convolution import convolve

SCALES = 3
REDUCTION = 4
SMALLEST_MAP = 2
"""A 3x3 convolution with reflection padding needs a map of at least this side."""
STRIDED_WIDTHS, STRIDED_SIDE = (64, 128, 256), 32
"""Of the strided patch network: channels of its convolutions at width 1, and the smallest side of an image for it."""
STRIDED_CHANNELS, PAIRED_CHANNELS = 6, 9
"""Input channels: image and Laplacian; with the other image."""
GROUPS = 8
SCORE_START = 0.1
"""Standard deviation of the score layer's initial weights, times the root of its inputs: scores start near 0."""


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


class StridedPatchDiscriminator(nn.Module):
    """One scale: images [B, 3, H, W] to patch scores [B, 1, H / 8, W / 8] (Isola et al., 2017).

    Strided 4x4 convolutions with group norm see the image and its Laplacian, which exposes sharpness. No gradient
    passes a constant channel, as in `instance_norm`.
    """

    laplacian: Tensor

    def __init__(self, width: float = 1.0, seen: int = STRIDED_CHANNELS) -> None:
        super().__init__()
        channels = [scaled(wide, width) for wide in STRIDED_WIDTHS]
        inputs = [seen, *channels[:-1]]
        self.convolutions = nn.ModuleList(Conv(i, o, 4, stride=2) for i, o in zip(inputs, channels, strict=True))
        self.norms = nn.ModuleList(nn.GroupNorm(math.gcd(GROUPS, wide), wide) for wide in channels[1:])
        self.patch_score = nn.Conv2d(channels[-1], 1, 1)
        kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
        self.register_buffer("laplacian", kernel.expand(3, 1, 3, 3).clone(), persistent=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.2)
                nn.init.zeros_(layer.bias) if layer.bias is not None else None
        nn.init.normal_(self.patch_score.weight, 0.0, SCORE_START / math.sqrt(channels[-1]))

    def forward(self, images: Tensor, *beside: Tensor) -> Tensor:
        """Patch scores, 1 for real and 0 for generated; `beside` are further input images."""
        edges = functional.conv2d(reflect(images, 1), self.laplacian.to(images.dtype), groups=3)
        first, *others = self.convolutions
        maps = leaky(first(torch.cat((images, edges, *beside), dim=1)))
        for convolution, norm in zip(others, self.norms, strict=True):
            maps = leaky(norm(constant_cut(convolution(maps))))
        return convolve(self.patch_score, maps)


class Discriminator(nn.Module):
    """The same patch network, with weights of its own, on the image and on its halved versions.

    Args:
        image_size: height and width; small images have fewer scales.
        width: of its channels, 1 as published.
        kind: `published`, `strided`, or `paired`: strided, with another image of the identity beside the image.

    Attributes:
        paired: whether it takes the other image.
    """

    def __init__(self, image_size: tuple[int, int], width: float = 1.0, kind: str = "published") -> None:
        super().__init__()
        self.paired = kind == "paired"
        published = kind == "published"
        smallest_side = REDUCTION * SMALLEST_MAP if published else STRIDED_SIDE
        scales = max(1, sum(min(image_size) >> scale >= smallest_side for scale in range(SCALES)))
        seen = PAIRED_CHANNELS if self.paired else STRIDED_CHANNELS
        self.scales = nn.ModuleList(
            PatchDiscriminator(width) if published else StridedPatchDiscriminator(width, seen) for _ in range(scales)
        )

    def forward(self, images: Tensor, others: Tensor | None = None) -> list[Tensor]:
        """Patch scores of each scale, largest first.

        Args:
            images: what is judged [B, 3, H, W].
            others: images beside them [B, 3, H, W], positives or another identity's; only `paired` uses them.
        """
        shown = [images, others] if self.paired and others is not None else [images]
        if images.is_cuda and not as_published():
            shown = [one.contiguous(memory_format=torch.channels_last) for one in shown]
        scores = []
        for index, scale in enumerate(self.scales):
            if index:
                shown = [functional.avg_pool2d(one, 3, 2, 1, count_include_pad=False) for one in shown]
            scores.append(scale(*shown))
        return scores
