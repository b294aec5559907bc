"""Augmentation of normalised images on their device: random erasing, colour changes, mirroring and shifting.

Random erasing (Zhong et al., 2020) as DG-Net uses it; mirroring and shifting as the loader does it to files
(method: transforms). Colour jitter, and grey rectangles as in local greyscale replacement (Gong et al., 2021).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.normalisation import from_unit, to_unit
from dgaug.transfer import upload

TRIES = 100
AREA = (0.02, 0.4)
ASPECT = (0.3, 1 / 0.3)
Box = tuple[int, int, int, int]
"""Top, left, bottom (excluded), right (excluded)."""
NOTHING: Box = (0, 0, 0, 0)
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey level (ITU-R BT.601)."""


def sample_boxes(count: int, image_size: tuple[int, int], probability: float, rng: np.random.Generator) -> list[Box]:
    """What each of `count` images [H, W] loses; `NOTHING` where the coin or all tries say so."""
    return [_box(*image_size, rng) if rng.random() < probability else NOTHING for _ in range(count)]


def erase(images: Tensor, boxes: list[Box] | Tensor) -> Tensor:
    """A copy of images [B, 3, H, W] in which each lost its box ([B, 4]) to the mean colour (0)."""
    return images.masked_fill(_inside(images, boxes), 0)


def greyed(images: Tensor, boxes: list[Box]) -> Tensor:
    """A copy of images [B, 3, H, W] in which each lost the colour of its box ([B, 4])."""
    grey = from_unit(_luma(to_unit(images)).expand_as(images))
    return torch.where(_inside(images, boxes), grey, images)


def sample_factors(count: int, jitter: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Factors [count, 3] of brightness, contrast and saturation, each from 1 - jitter to 1 + jitter."""
    return rng.uniform(1 - jitter, 1 + jitter, size=(count, 3)).astype(np.float32)


def jittered(images: Tensor, factors: NDArray[np.float32]) -> Tensor:
    """Images [B, 3, H, W] with brightness, contrast and saturation multiplied by factors [B, 3], in this order."""
    brightness, contrast, saturation = upload(factors, images.device).T[:, :, None, None, None]
    pixels = (to_unit(images) * brightness).clamp(0, 1)
    middle = _luma(pixels).mean(dim=(1, 2, 3), keepdim=True)
    pixels = (middle + (pixels - middle) * contrast).clamp(0, 1)
    grey = _luma(pixels)
    return from_unit((grey + (pixels - grey) * saturation).clamp(0, 1))


def _luma(pixels: Tensor) -> Tensor:
    """Grey levels [B, 1, H, W] of images [B, 3, H, W]."""
    red, green, blue = (pixels[:, channel : channel + 1] * weight for channel, weight in enumerate(LUMA))
    return red + green + blue


def _inside(images: Tensor, boxes: list[Box] | Tensor) -> Tensor:
    """Which pixels lie in the box of their image: bool [B, 1, H, W]."""
    height, width = images.shape[2:]
    edges = upload(torch.as_tensor(boxes), images.device)[:, :, None]
    rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
    vertical = (edges[:, 0] <= rows) & (rows < edges[:, 2])
    horizontal = (edges[:, 1] <= columns) & (columns < edges[:, 3])
    return (vertical[:, :, None] & horizontal[:, None, :])[:, None]


def _box(height: int, width: int, rng: np.random.Generator) -> Box:
    for _ in range(TRIES):
        area = rng.uniform(*AREA) * height * width
        aspect = rng.uniform(*ASPECT)
        rows, columns = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if rows < height and columns < width:
            top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
            return top, left, top + rows, left + columns
    return NOTHING


def shifted(images: Tensor, pad: int, rng: np.random.Generator) -> Tensor:
    """Images [B, 3, H, W], each mirrored or not and moved by up to `pad` pixels; edges repeat their last pixel."""
    count, _, height, width = images.shape
    device = images.device
    mirrored = upload(rng.random(count) < 0.5, device)[:, None]
    by = upload(rng.integers(-pad, pad + 1, size=(2, count)), device)[..., None]
    rows = (torch.arange(height, device=device) + by[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + by[1]).clamp(0, width - 1)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    places = torch.arange(count, device=device)
    return images[places[:, None, None], :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
