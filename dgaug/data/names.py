"""What file names say by the published rules, and the words for splits and cameras."""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import normalize

from dgaug.data.records import UNKNOWN_CAMERA

_WHOLE = re.compile(r"(-?\d{1,300})(?:\.0*)?", re.ASCII)
_NO_CAMERA = {"", "nan", "none", "null", "na", "n/a", "<na>"}
_LARGEST_CAMERA = 10**9
SPLITS = ("train", "query", "gallery", "multi-query", "val")
_SPLIT_WORDS = {"": "train", "test": "gallery", "probe": "query", "valid": "val", "validation": "val"}

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
        camera = int(match[2]) if len(match[2]) < 300 else _LARGEST_CAMERA
        return match[1], camera if camera < _LARGEST_CAMERA else UNKNOWN_CAMERA
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
    """The split a user means by a word in any case: `test` is the gallery, `probe` the query, an empty word train.

    None for any other word. `val` is a split of its own, which no command trains on or ranks.
    """
    word = _SPLIT_WORDS.get(text.strip().lower(), text.strip().lower())
    return word if word in SPLITS else None


def camera_numbers(texts: Iterable[str]) -> tuple[dict[str, int], str]:
    """The numbers of the cameras that texts name, and a sentence where these are other numbers than the texts.

    Whole numbers are themselves, `1.0` is 1; no text, -1 and `nan` are `UNKNOWN_CAMERA`. Where one is no such number,
    or of more than nine digits, all are numbered from 1 in their order, numbers first.

    Raises:
        ValueError: a negative number; its text.
    """
    values: dict[str, int | str] = {}
    for text in sorted(set(texts)):
        value = normalize("NFC", text.strip())
        whole = _WHOLE.fullmatch(value)
        if value.lower() in _NO_CAMERA or (whole and int(whole[1]) == UNKNOWN_CAMERA):
            continue
        if whole and int(whole[1]) < 0:
            raise ValueError(text)
        values[text] = int(whole[1]) if whole else value
    unknown = {text: UNKNOWN_CAMERA for text in texts if text not in values}
    # The store keeps cameras as 32-bit integers.
    if all(isinstance(value, int) and value < _LARGEST_CAMERA for value in values.values()):
        return unknown | {text: int(value) for text, value in values.items()}, ""
    order = sorted(set(values.values()), key=lambda value: (isinstance(value, str), value))
    number = {value: place for place, value in enumerate(order, start=1)}
    shown = ", ".join(f"{number[value]} is {value!r}" for value in order[:5]) + (", ..." if len(order) > 5 else "")
    return unknown | {text: number[value] for text, value in values.items()}, f"cameras are numbered in order: {shown}"
