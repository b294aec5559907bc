"""Between pictures (uint8, RGB) and the ImageNet-normalised space in which every network works."""

from __future__ import annotations

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """Pictures uint8 [B, H, W, 3] to normalised float32 [B, 3, H, W] on the same device."""
    mean = torch.tensor(IMAGENET_MEAN, device=pixels.device)
    std = torch.tensor(IMAGENET_STD, device=pixels.device)
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def denormalise(pictures: Tensor) -> Tensor:
    """Normalised pictures [B, 3, H, W] to uint8 [B, H, W, 3], rounded and clipped."""
    mean = torch.tensor(IMAGENET_MEAN, device=pictures.device)
    std = torch.tensor(IMAGENET_STD, device=pictures.device)
    pixels = (pictures.float().permute(0, 2, 3, 1) * std + mean) * 255
    return pixels.round().clamp(0, 255).to(torch.uint8)
