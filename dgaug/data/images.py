"""Image files, each read right or refused; many at one size, decoded once where memory allows."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from dgaug.data.depth import SIXTEEN_BIT, Levels, levels_of, to_eight_bits
from dgaug.data.formats import DECODE_ERRORS, formats_of
from dgaug.errors import DgaugError
from dgaug.memory import free_memory

CACHE_SHARE = 0.25
"""Of the memory that is free, how much the resized images of a data set may take; the rest is decoded each time."""
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_switch = threading.Lock()
_threads_inside = 0
_switch_was = False


class DamagedImage(DgaugError):
    """A file that should be an image and cannot be read whole.

    Attributes:
        path: the file.
        reason: why, in a few words.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: damaged image ({reason})")
        self.path = path
        self.reason = reason


def open_image(path: str | Path, levels: Levels | None = None) -> Image.Image:
    """Read an image whole, in RGB, upright.

    Grey, palette, CMYK and 16-bit grey are converted, the latter by `levels` (None: those of its data set, see
    `depth.use_levels`, else 65,535 becomes 255); transparency is laid on white; EXIF
    rotation is applied; of an animation it is the first frame. The content decides, not the file's suffix.

    Raises:
        DamagedImage: not there, empty, cut off, not an image, in floating point, or larger than Pillow's
            `MAX_IMAGE_PIXELS`.
    """
    path = Path(path)
    return decode_image(read_image_bytes(path), path, levels)


def read_image_bytes(path: Path) -> bytes:
    """The bytes of an image file; DamagedImage where there are none."""
    try:
        if not path.is_file():
            raise DamagedImage(path, "no such file" if not path.exists() else "not a file")
        content = path.read_bytes()
    except OSError as error:
        raise DamagedImage(path, error.strerror or "cannot be read") from error
    if not content:
        raise DamagedImage(path, "empty file")
    return content


def decode_image(content: bytes, path: Path, levels: Levels | None = None) -> Image.Image:
    """Decode the bytes of an image as `open_image` does; `path` names it in the error and finds its levels."""
    try:
        with _truncation_refused(), Image.open(io.BytesIO(content), formats=formats_of(path.name)) as image:
            most = Image.MAX_IMAGE_PIXELS
            if most is not None and image.width * image.height > most:
                raise DamagedImage(path, f"{image.width} x {image.height} is more than {most:,} pixels")
            if image.format == "PNG":
                _verify(content)
            image.load()
            if image.format in ("JPEG", "MPO") and content.rfind(_JPEG_END) < content.rfind(_JPEG_SCAN):
                # libjpeg continues through the zeros that a power cut leaves, to a grey end of the image.
                raise DamagedImage(path, "no end of the image")
            ImageOps.exif_transpose(image, in_place=True)
            return _in_rgb(image, levels or levels_of(path))
    except UnidentifiedImageError as error:
        raise DamagedImage(path, "cut off at its start, or not an image in a known format") from error
    except DECODE_ERRORS as error:
        raise DamagedImage(path, str(error) or type(error).__name__) from error


def to_pixels(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an RGB image to (H, W), bicubic: uint8 `[H, W, 3]`, 0..255."""
    height, width = size
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)


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


def contrast_of(image: Image.Image) -> int:
    """Grey levels (0..255) between the darkest and the brightest pixel of an RGB image, of the widest channel."""
    return int(np.ptp(np.asarray(image), axis=(0, 1)).max())


def _verify(content: bytes) -> None:
    # Loading alone takes a PNG whose tail is zeros, as a power cut leaves it, for an image that ends in black.
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.verify()


def _in_rgb(image: Image.Image, levels: Levels) -> Image.Image:
    if image.mode in SIXTEEN_BIT:
        # Pillow's own conversion clips at 255 and turns such images white.
        return Image.fromarray(to_eight_bits(np.asarray(image).astype(np.int64), levels)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no agreed range; convert to 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


@contextmanager
def _truncation_refused() -> Iterator[None]:
    """Refuse files cut short, whatever `ImageFile.LOAD_TRUNCATED_IMAGES` says; the last thread puts that back."""
    global _threads_inside, _switch_was
    with _switch:
        if not _threads_inside:
            _switch_was = ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _threads_inside += 1
    try:
        yield
    finally:
        with _switch:
            _threads_inside -= 1
            if not _threads_inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = _switch_was
