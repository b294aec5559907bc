"""The grey levels of 16-bit images: which of them become black and white in a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgaug.data.formats import DECODE_ERRORS, formats_of
from dgaug.data.records import IdentityData

Levels = tuple[int, int]
"""What becomes 0 and what becomes 255."""
FULL: Levels = (0, 65535)
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_EIGHT_BIT = (".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".avif", ".heic")
_MOST_OPENED, _MOST_COUNTED = 256, 2000
"""Images whose header is read to see whether any has 16 bits, and 16-bit images whose pixels are counted."""
_CUT = 0.001
"""Share of the pixels at each end that may be clipped: dead and hot ones would take the range."""
_of_folder: dict[str, Levels] = {}


def use_levels(folder: Path, levels: Levels) -> None:
    """In this process, read 16-bit images below a folder with these levels."""
    _of_folder[os.path.abspath(folder)] = levels


def levels_of(path: Path) -> Levels:
    """The levels that `use_levels` gave the nearest folder above an image; all 16 bits where there is none."""
    here = os.path.abspath(path)
    above = [folder for folder in _of_folder if here.startswith(folder.rstrip("/") + "/")]
    return _of_folder[max(above, key=len)] if above else FULL


def find_levels(data: IdentityData) -> Levels | None:
    """The range of a data set's 16-bit images, all splits together, but for a thousandth at each end.

    None where there are none, or where they have one level only.
    """
    paths = sorted({data.image_path(record) for records in data.listed.values() for record in records})
    candidates = [path for path in paths if path.suffix.lower() not in _EIGHT_BIT]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        if not any(threads.map(lambda path: _sixteen_bits(path) is not None, _spread(candidates, _MOST_OPENED))):
            return None
        counts = sum(threads.map(_count, _spread(candidates, _MOST_COUNTED)), np.zeros(FULL[1] + 1, np.int64))
    share = np.cumsum(counts) / max(1, counts.sum())
    low, high = int(np.searchsorted(share, _CUT, side="right")), int(np.searchsorted(share, 1 - _CUT))
    return (low, high) if low < high else None


def to_eight_bits(values: NDArray[np.int64], levels: Levels) -> NDArray[np.uint8]:
    """Grey values of 16 bits to uint8, the levels becoming 0 and 255, what lies outside clipped."""
    low, high = levels
    span = high - low
    return (((values.clip(low, high) - low) * 255 + span // 2) // span).astype(np.uint8)


def _spread(paths: Sequence[Path], most: int) -> Sequence[Path]:
    return [paths[k * len(paths) // most] for k in range(most)] if len(paths) > most else paths


def _count(path: Path) -> NDArray[np.int64]:
    values = _sixteen_bits(path)
    return np.zeros(FULL[1] + 1, np.int64) if values is None else np.bincount(values, minlength=FULL[1] + 1)


def _sixteen_bits(path: Path) -> NDArray[np.int64] | None:
    """The grey values of a 16-bit image; None for any other, damaged ones among them: whoever decodes it says so."""
    try:
        with Image.open(path, formats=formats_of(path.name)) as image:
            return np.asarray(image).astype(np.int64).clip(*FULL).ravel() if image.mode in SIXTEEN_BIT else None
    except DECODE_ERRORS:
        return None
