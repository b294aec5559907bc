"""Random erasing (Zhong et al., 2020) as DG-Net uses it, on a batch of normalised pictures."""

from __future__ import annotations

import numpy as np
from torch import Tensor

TRIES = 100
AREA = (0.02, 0.4)
ASPECT = (0.3, 1 / 0.3)


def erase(pictures: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    """A copy of pictures [B, 3, H, W] in which each, with `probability`, lost one box to the mean colour (0)."""
    height, width = pictures.shape[2:]
    erased = pictures.clone()
    for picture in erased:
        if rng.random() >= probability:
            continue
        box = _box(height, width, rng)
        if box is not None:
            top, left, rows, columns = box
            picture[:, top : top + rows, left : left + columns] = 0
    return erased


def _box(height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    for _ in range(TRIES):
        area = rng.uniform(*AREA) * height * width
        aspect = rng.uniform(*ASPECT)
        rows, columns = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if rows < height and columns < width:
            return int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1)), rows, columns
    return None
