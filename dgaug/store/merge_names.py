"""Identities and cameras as numbers that the readers of Market-1501's file names take, or a refusal that names them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dgaug.data.records import UNKNOWN_CAMERA, Record, Role
from dgaug.errors import DgaugError

JUNK, DISTRACTOR = "-1", "0000"
ONE_DIGIT = 9
"""The highest camera that a reader of one digit takes."""
FOUR_DIGITS = 9999
"""The highest identity that the layumi baseline tells from others in its test."""
_MOST_DIGITS = 9
_NAME = re.compile(r"[-\d]+_c\d")
_OTHERS = "--for oml, wildlife or csv"


@dataclass(frozen=True)
class Reader:
    """What the Market-1501 classes of a toolbox accept.

    Attributes:
        name: the toolbox, or several.
        most_identity: the highest identity; None: any.
        most_camera: the highest camera.
        whole_path: whether identity and camera are looked for in the path, not in the name alone.
    """

    name: str
    most_identity: int | None
    most_camera: int
    whole_path: bool = False


MARKET = Reader("torchreid, fast-reid, TransReID and CLIP-ReID", 1501, 6, whole_path=True)
BOXMOT = Reader("boxmot", None, ONE_DIGIT)


@dataclass(frozen=True)
class Numbers:
    """The numbers in file names.

    Attributes:
        identity: from a person's name to its text, four digits or more.
        camera: from a camera to its number.
        unknown: the number of an unknown camera in training and gallery, and in the query: no match is ruled out.
        notes: what was renumbered, and what a toolbox must be told.
    """

    identity: Mapping[str, str]
    camera: Mapping[int, int]
    unknown: tuple[int, int] | None
    notes: tuple[str, ...]

    def of(self, record: Record, person: str, *, query: bool = False) -> tuple[str, int]:
        """Identity and camera of an image."""
        special = {Role.JUNK: JUNK, Role.DISTRACTOR: DISTRACTOR}
        return special.get(record.role) or self.identity[person], self.camera_of(record.camera, query=query)

    def camera_of(self, camera: int, *, query: bool = False) -> int:
        """The number of a camera."""
        if camera != UNKNOWN_CAMERA:
            return self.camera[camera]
        assert self.unknown is not None
        return self.unknown[query]


def numbers_of(
    people: Iterable[str], cameras: Iterable[int], reader: Reader, *, zero_is_nobody: bool, unknown_camera: int | None
) -> Numbers:
    """The numbers of a data set's people and cameras for a reader.

    Numbers that are different and accepted are kept; others are counted from 1, which a note says.

    Args:
        people: the names of all identities.
        cameras: of all images; -1: unknown.
        reader: what it accepts.
        zero_is_nobody: whether 0000 marks distractors, so that no identity may have that number.
        unknown_camera: the number of an unknown camera.

    Raises:
        DgaugError: more cameras than one digit tells apart, or an unknown one without a number.
    """
    names, notes = sorted(set(people)), []
    identity, renumbered = _identities(names, reader, zero_is_nobody=zero_is_nobody)
    if renumbered:
        notes.append(f"identities are counted from 1, {renumbered}: identities.csv has their names")
    most = max((int(text) for text in identity.values()), default=0)
    if reader.most_identity is not None and most > reader.most_identity:
        notes.append(
            f"identities up to {most:,}: the Market-1501 classes of {reader.name} accept {reader.most_identity:,}; "
            "raise that limit there"
            + ("; the test of the layumi baseline reads four digits, no more" if most > FOUR_DIGITS else "")
        )
    seen = set(cameras)
    known = sorted(seen - {UNKNOWN_CAMERA})
    camera = _cameras(known, reader)
    if any(before != now for before, now in camera.items()):
        shown = ", ".join(f"{before} is c{now}" for before, now in list(camera.items())[:_MOST_DIGITS])
        notes.append(f"cameras are counted from 1: {shown}")
    unknown = _unknown(set(camera.values()), unknown_camera) if UNKNOWN_CAMERA in seen else None
    if unknown is not None:
        notes.append(
            f"images of unknown camera say c{unknown[0]}, in the query c{unknown[1]}, so that no match is ruled out"
        )
    highest = max([*camera.values(), *(unknown or ())], default=0)
    if highest > reader.most_camera:
        notes.append(
            f"cameras up to {highest}: the Market-1501 classes of {reader.name} accept {reader.most_camera}; "
            "raise that limit there"
        )
    return Numbers(identity, camera, unknown, tuple(notes))


def is_read_as(name: str, identity: str, camera: int) -> bool:
    """Whether every reader finds this identity and camera in a file name, by pattern or by place."""
    start = f"{identity}_c{camera}"
    return name.startswith(start) and not name[len(start) :][:1].isdigit() and name.endswith(".jpg")


def require_readable_path(out: Path, reader: Reader) -> None:
    """Refuse a folder whose path a reader takes for a file name's beginning, or for a pattern.

    Raises:
        DgaugError: says which part of it.
    """
    path = os.path.abspath(out)
    taken = _NAME.search(path) if reader.whole_path else None
    if taken:
        raise DgaugError(
            f"{reader.name} would take {taken[0]!r} in the path {path} for identity and camera of every image; choose "
            "another --out"
        )
    if set(path) & set("[*?"):
        raise DgaugError(
            f"{reader.name} would take the path {path} for a pattern, because of [, * or ? in it; choose another --out"
        )


def _identities(names: list[str], reader: Reader, *, zero_is_nobody: bool) -> tuple[dict[str, str], str]:
    """The texts, and why they were counted anew; empty where they were not."""
    counted = {name: f"{number:04d}" for number, name in enumerate(names, start=1)}
    if not all(name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS for name in names):
        return counted, "because some are no number"
    numbers = [int(name) for name in names]
    if len(set(numbers)) < len(numbers):
        return counted, "because some are the same number"
    if zero_is_nobody and 0 in numbers:
        return counted, "because 0000 marks distractors"
    if reader.most_identity is not None and max(numbers, default=0) > reader.most_identity >= len(names):
        return counted, f"because {reader.name} accept numbers up to {reader.most_identity:,}"
    if reader.most_identity is not None and max(numbers, default=0) > FOUR_DIGITS >= len(names):
        return counted, "because the test of the layumi baseline reads four digits"
    return {name: name.zfill(4) for name in names}, ""


def _cameras(known: list[int], reader: Reader) -> dict[int, int]:
    if all(1 <= camera <= reader.most_camera for camera in known):
        return {camera: camera for camera in known}
    if len(known) > ONE_DIGIT:
        raise DgaugError(
            f"{len(known)} cameras (the last is {known[-1]}), but readers of Market-1501's file names take one digit, "
            f"1 to {ONE_DIGIT}; use {_OTHERS}, or --cameras none with --unknown-camera 1"
        )
    if all(1 <= camera <= ONE_DIGIT for camera in known) and len(known) > reader.most_camera:
        return {camera: camera for camera in known}
    return {camera: number for number, camera in enumerate(known, start=1)}


def _unknown(taken: set[int], asked: int | None) -> tuple[int, int]:
    free = [number for number in range(1, ONE_DIGIT + 1) if number not in taken]
    if asked is None:
        hint = f"--unknown-camera {free[0]}" if len(free) > 1 else _OTHERS
        raise DgaugError(
            f"some images have no known camera, but readers of Market-1501's file names need one; give {hint}, or use "
            f"{_OTHERS}"
        )
    others = [number for number in free if number != asked]
    if asked not in free or not others:
        raise DgaugError(
            f"expected an --unknown-camera from 1 to {ONE_DIGIT} that no camera has and another free number for the "
            f"query, found {asked}; taken: {', '.join(map(str, sorted(taken))) or 'none'}; or use {_OTHERS}"
        )
    return asked, others[0]
