"""Between images (uint8, RGB) and the ImageNet-normalised space in which every network works."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """Images uint8 [B, H, W, 3] to normalised float32 [B, 3, H, W] on the same device."""
    mean, std = _per_channel(IMAGENET_MEAN, pixels.device), _per_channel(IMAGENET_STD, pixels.device)
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def denormalise(images: Tensor) -> Tensor:
    """Normalised images [B, 3, H, W] to uint8 [B, H, W, 3], rounded and clipped."""
    mean, std = _per_channel(IMAGENET_MEAN, images.device), _per_channel(IMAGENET_STD, images.device)
    pixels = (images.float().permute(0, 2, 3, 1) * std + mean) * 255
    return pixels.round().clamp(0, 255).to(torch.uint8)


def to_unit(images: Tensor) -> Tensor:
    """Normalised images [B, 3, H, W] to the range 0..1."""
    mean, std = (_per_channel(one, images.device)[:, None, None] for one in (IMAGENET_MEAN, IMAGENET_STD))
    return images * std + mean


def from_unit(pixels: Tensor) -> Tensor:
    """Images [B, 3, H, W] in the range 0..1 to normalised ones."""
    mean, std = (_per_channel(one, pixels.device)[:, None, None] for one in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / std


def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """A number for each channel, float32 [C], written on the device: a copy from the host would wait for it."""
    row = torch.empty(len(values), device=device)
    for channel, value in enumerate(values):
        row[channel].fill_(value)
    return row
