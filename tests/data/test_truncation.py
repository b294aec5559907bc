"""An image cut short is damaged in every format, also where the caller told Pillow to take such files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from dgaug.data.images import DamagedImage, decode_image, open_image
from dgaug.data.loading import loaded

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP")


def cut(kind: str) -> tuple[bytes, bytes]:
    """A file, and the same without its last third."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    content = stream.getvalue()
    return content, content[: len(content) * 2 // 3]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("tolerant", [False, True])
def test_a_file_cut_short_is_damaged(monkeypatch: pytest.MonkeyPatch, kind: str, tolerant: bool) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    full, short = cut(kind)
    assert decode_image(full, Path("whole")).size == (30, 40)
    with pytest.raises(DamagedImage):
        decode_image(short, Path("cut"))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is tolerant


def test_no_thread_puts_the_switch_back_under_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for place, content in enumerate(cut("BMP")):
        (tmp_path / str(place)).write_bytes(content)

    def damaged(number: int) -> bool:
        try:
            open_image(tmp_path / str(number % 2))
        except DamagedImage:
            return True
        return False

    assert list(loaded(damaged, range(400), threads=4)) == [False, True] * 200
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
