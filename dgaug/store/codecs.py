"""Images to bytes and back."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from typing import IO

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from dgaug.errors import DgaugError


def encode(pixels: NDArray[np.uint8], *, codec: str, quality: int) -> bytes:
    """An image uint8 [H, W, 3], RGB, as the bytes a store keeps.

    `jpeg` keeps colour at full resolution (4:4:4): on small images of people the colour is what matters.
    `codes` keeps no image, hence no byte.
    """
    if codec == "codes":
        return b""
    if codec == "raw":
        return np.ascontiguousarray(pixels).tobytes()
    image, file = PIL.Image.fromarray(pixels), _scratch()
    file.seek(0)
    file.truncate()
    if codec == "jpeg":
        image.save(file, "JPEG", quality=quality, subsampling=0)
    else:
        image.save(file, "PNG")
    file.seek(0)
    return file.read()


_own = threading.local()


def _scratch() -> IO[bytes]:
    """A file in memory of this thread: Pillow lets other threads run while it writes to a file, not to bytes."""
    file: IO[bytes] | None = getattr(_own, "file", None)
    if file is None or _own.process != os.getpid():  # a process that was forked must not write to its parent's
        if hasattr(os, "memfd_create"):
            file = os.fdopen(os.memfd_create("dgaug"), "w+b", buffering=0)
        else:
            file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # closed with its thread
        _own.file, _own.process = file, os.getpid()
    return file


def decode(data: bytes, *, codec: str, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """The image uint8 [H, W, 3] of what `encode` made; DgaugError where it is none of that size."""
    if codec == "raw":
        return np.frombuffer(data, np.uint8).reshape(*image_size, 3).copy()
    try:
        with PIL.Image.open(io.BytesIO(data), formats=[codec.upper()]) as image:
            if image.size != image_size[::-1] or image.mode != "RGB":
                raise DgaugError(
                    f"expected an RGB image of {image_size[0]} x {image_size[1]} (height x width), "
                    f"found {image.mode} of {image.size[1]} x {image.size[0]}"
                )
            return np.array(image)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as problem:
        raise DgaugError(f"expected a {codec.upper()} image, found bytes that are none: {problem}") from problem
