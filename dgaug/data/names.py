"""What file names say by the published rules, and the words for splits and cameras."""

from __future__ import annotations

import re

from dgaug.data.records import UNKNOWN_CAMERA

SPLITS = ("train", "query", "gallery", "multi-query")

# Market-1501 0002_c1s1_000451_03.jpg, DukeMTMC-reID 0005_c2_f0046985.jpg, CUHK03-NP 0001_c1_1.png,
# VeRi-776 0001_c001_00016450_0.jpg, MSMT17 repacked 0001_c15_0030.jpg
_LETTER_C = re.compile(r"([^_/]+)_c(\d+)(?:s\d+)?(?=[_.])", re.ASCII)
# MSMT17 0367_010_10_0303noon_0606_2.jpg: no letter, the third field is the camera
_MSMT17 = re.compile(r"(\d{4})_\d{3}_(\d{2})_\d{4}[a-z]+_", re.ASCII)
_DUKE = re.compile(r"\d{4}_c\d_f\d+", re.ASCII)
_CUHK03 = re.compile(r"\d{4}_c[12]_\d+\.png$", re.ASCII | re.IGNORECASE)


def identity_and_camera(name: str) -> tuple[str, int] | None:
    """Identity and camera of a file name by the published rules; None where it starts with no `identity_`.

    The identity is the text before the first underscore. The camera is `UNKNOWN_CAMERA` where the rest of the name
    follows no rule. Source: method.md 1.1; two-digit cameras are read whole, unlike in the published scripts.
    """
    match = _LETTER_C.match(name) or _MSMT17.match(name)
    if match:
        return match[1], int(match[2])
    identity, underscore, _ = name.partition("_")
    return (identity, UNKNOWN_CAMERA) if identity and underscore else None


def named_like(name: str) -> str:
    """The data set whose file names look like this one: `market1501` unless another rule is met."""
    if _MSMT17.match(name):
        return "msmt17"
    if _DUKE.match(name):
        return "dukemtmc-reid"
    return "cuhk03-np" if _CUHK03.match(name) else "market1501"


def split_named(text: str) -> str | None:
    """The split a user means by a word: `test` is the gallery, an empty word is train; None for any other word."""
    word = {"": "train", "test": "gallery"}.get(text.strip().lower(), text.strip().lower())
    return word if word in SPLITS else None


def camera_number(text: str) -> int | None:
    """The camera a text names: `UNKNOWN_CAMERA` for an empty text or -1, None where it is no number."""
    text = text.strip()
    if text in ("", str(UNKNOWN_CAMERA)):
        return UNKNOWN_CAMERA
    # The store keeps cameras as 32-bit integers.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
