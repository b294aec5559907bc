"""Augmentation of normalised images on their device: random erasing, mirroring and shifting.

Random erasing (Zhong et al., 2020) as DG-Net uses it; mirroring and shifting as the loader does it to files
(method: transforms).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dgaug.transfer import upload

TRIES = 100
AREA = (0.02, 0.4)
ASPECT = (0.3, 1 / 0.3)
Box = tuple[int, int, int, int]
"""Top, left, bottom (excluded), right (excluded)."""
NOTHING: Box = (0, 0, 0, 0)


def sample_boxes(count: int, image_size: tuple[int, int], probability: float, rng: np.random.Generator) -> list[Box]:
    """What each of `count` images [H, W] loses; `NOTHING` where the coin or all tries say so."""
    return [_box(*image_size, rng) if rng.random() < probability else NOTHING for _ in range(count)]


def erase(images: Tensor, boxes: list[Box] | Tensor) -> Tensor:
    """A copy of images [B, 3, H, W] in which each lost its box ([B, 4]) to the mean colour (0)."""
    height, width = images.shape[2:]
    edges = upload(torch.as_tensor(boxes), images.device)[:, :, None]
    rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
    vertical = (edges[:, 0] <= rows) & (rows < edges[:, 2])
    horizontal = (edges[:, 1] <= columns) & (columns < edges[:, 3])
    return images.masked_fill((vertical[:, :, None] & horizontal[:, None, :])[:, None], 0)


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
