"""Image files at one size, each decoded once where memory allows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgaug.data.images import open_image, to_pixels
from dgaug.memory import free_memory

CACHE_SHARE = 0.25
"""Of the memory that is free, how much the resized images of a data set may take; the rest is decoded each time."""


class ResizedImages:
    """Images uint8 [H, W, 3] by their row; any thread may read them, none may write to them."""

    def __init__(self, paths: Sequence[Path], image_size: tuple[int, int], *, sharing: int = 1) -> None:
        """`sharing`: processes on this machine that keep images of their own."""
        self._paths = paths
        self._image_size = image_size
        height, width = image_size
        self._most = int(free_memory() * CACHE_SHARE) // (height * width * 3 * sharing)
        self._kept: dict[int, NDArray[np.uint8]] = {}

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        """The image of a row; DamagedImage where it cannot be read."""
        pixels = self._kept.get(row)
        if pixels is None:
            pixels = to_pixels(open_image(self._paths[row]), self._image_size)
            if len(self._kept) < self._most:
                self._kept[row] = pixels
        return pixels
