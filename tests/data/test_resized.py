"""Resized images: decoded once where memory allows, again where it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgaug.data.images import CACHE_SHARE, ResizedImages, open_image, to_pixels

SIZE = (32, 16)
BYTES = 32 * 16 * 3


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    made = [tmp_path / f"{row}.png" for row in range(4)]
    for path in made:
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(path)
    return made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def counted(path: Path) -> Image.Image:
        names.append(path.name)
        return open_image(path)

    monkeypatch.setattr("dgaug.data.images.open_image", counted)
    return names


def test_every_image_is_decoded_once(paths: list[Path], decoded: list[str]) -> None:
    images = ResizedImages(paths, SIZE)
    for _ in range(3):
        for row, path in enumerate(paths):
            assert np.array_equal(images[row], to_pixels(open_image(path), SIZE))
    assert decoded == [path.name for path in paths]


@pytest.mark.parametrize(("fitting", "sharing"), [(0, 1), (2, 1), (2, 2)])
def test_what_does_not_fit_into_memory_is_decoded_again(
    monkeypatch: pytest.MonkeyPatch, paths: list[Path], decoded: list[str], fitting: int, sharing: int
) -> None:
    monkeypatch.setattr("dgaug.data.images.free_memory", lambda: int(fitting * sharing * BYTES / CACHE_SHARE))
    images = ResizedImages(paths, SIZE, sharing=sharing)
    for _ in range(2):
        for row, path in enumerate(paths):
            assert np.array_equal(images[row], to_pixels(open_image(path), SIZE))
    assert len(decoded) == 4 + (4 - fitting)
