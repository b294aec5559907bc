"""Whether a file that ends too early counts as an image: decided here, and not by a switch of Pillow's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import ImageFile

_lock = threading.Lock()
_inside = 0
_found = False


@contextmanager
def truncation_refused() -> Iterator[None]:
    """Refuse files cut short, whatever `ImageFile.LOAD_TRUNCATED_IMAGES` says; the last thread puts that back."""
    global _inside, _found
    with _lock:
        if not _inside:
            _found = ImageFile.LOAD_TRUNCATED_IMAGES
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                ImageFile.LOAD_TRUNCATED_IMAGES = _found
