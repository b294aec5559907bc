from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteTree = Callable[[Iterable[str]], Path]


@pytest.fixture
def write_tree(tmp_path: Path) -> WriteTree:
    """Write a small real image, different for every path, at each path below one root."""

    def write(paths: Iterable[str]) -> Path:
        root = tmp_path / "set"
        for path in paths:
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(zlib.crc32(path.encode())).integers(0, 256, (16, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)
        return root

    return write


MARKET = (
    "bounding_box_train/0002_c1s1_000451_03.jpg",
    "bounding_box_train/0002_c2s1_000451_03.jpg",
    "bounding_box_train/0007_c3s3_077419_03.jpg",
    "bounding_box_train/0007_c6s3_077419_03.jpg",
    "query/0001_c1s1_001051_00.jpg",
    "bounding_box_test/-1_c1s1_000401_03.jpg",
    "bounding_box_test/0000_c1s1_000151_01.jpg",
    "bounding_box_test/0001_c2s1_000151_01.jpg",
)


@pytest.fixture
def market(write_tree: WriteTree) -> Path:
    """Eight images in the layout of Market-1501."""
    return write_tree(MARKET)
