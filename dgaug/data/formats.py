"""Which files are images: the formats that are decoded, and how a file shows that it is one."""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from functools import cache
from importlib import import_module

from PIL import Image

# Only these decoders: Pillow would otherwise run Ghostscript on an EPS file that calls itself .jpg.
_BY_CONTENT = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF", "PPM", "JPEG2000", "QOI", "HEIF", "JXL")
# Formats whose first bytes could be anything's
_BY_ENDING = {".dib": "DIB", ".tga": "TGA", ".pcx": "PCX", ".sgi": "SGI"}
_PLUGINS = (("pillow_heif", "register_heif_opener"), ("pillow_jxl", ""))
_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".webp", ".tif", ".tiff", ".gif")
_NO_IMAGES = {".pfm"}
UNDECODED = frozenset(
    {".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".ico", ".exr", ".hdr", ".pfm", ".npy", ".eps"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".raw", ".mp4", ".avi", ".mov", ".mkv", ".seq"}
)
"""Endings of images and videos that dgaug may lack a decoder for."""
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""All that Pillow's decoders raise on damaged bytes."""


def formats_of(name: str) -> tuple[str, ...]:
    """Pillow's names of the formats that a file of this name may have."""
    by_ending = _BY_ENDING.get(ending_of(name))
    return (*_formats(), by_ending) if by_ending else _formats()


def is_image(path: str) -> bool:
    """Whether a file is an image: by its ending, or by its content where it has none or one without a decoder."""
    ending = ending_of(path)
    if ending in _suffixes():
        return True
    if ending not in UNDECODED and ending[1:].strip("0123456789"):
        return False
    with suppress(*DECODE_ERRORS):  # whatever Pillow makes of foreign bytes: no image
        if os.path.isfile(path):
            with Image.open(path, formats=formats_of(path)):
                return True
    return False


def ending_of(name: str) -> str:
    """The ending of a file's name in lower case, with its dot; empty where it has none."""
    return os.path.splitext(name)[1].lower()


@cache
def _formats() -> tuple[str, ...]:
    for module, register in _PLUGINS:
        # A plug-in that is damaged is one that is not there.
        with suppress(Exception):
            plugin = import_module(module)
            if register:
                getattr(plugin, register)()
    Image.init()
    return tuple(name for name in _BY_CONTENT if name in Image.OPEN)


@cache
def _suffixes() -> frozenset[str]:
    known = {ending for ending, name in Image.registered_extensions().items() if name in _formats()}
    return frozenset({*_SUFFIXES, *_BY_ENDING, *known} - _NO_IMAGES)
