"""Images named by a rule of the user's own: a regular expression with named groups."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from dgaug.data import search_names
from dgaug.data.folders import DGNET_FOLDERS, own_split_folders
from dgaug.data.listing import list_images
from dgaug.data.market import MARKET_FOLDERS, VERI_FOLDERS, present_folders, with_gallery_roles
from dgaug.data.names import SPLITS, camera_numbers, split_named
from dgaug.data.records import IdentityData, Record
from dgaug.errors import DgaugError

_LEAST_SECONDS, _NAMES_A_SECOND = 10, 20_000
"""Of processor time; a pattern that means something takes microseconds a name."""


def read_patterned(root: Path, pattern: str) -> IdentityData:
    """Read all images below a folder by a name pattern; `open_data` says what it is matched against.

    Raises:
        DgaugError: no usable pattern, no image, or images that do not match.
    """
    compiled = compile_pattern(pattern)
    folders, has_junk = ({}, False) if "split" in compiled.groupindex else _split_folders(root)
    splits: dict[str, list[tuple[Record, str]]] = {split: [] for split in SPLITS}
    unmatched: list[str] = []
    for of_folder, folder in folders.items() or [("", "")]:
        names = list_images(root / folder)
        for name, groups in zip(names, _search(compiled, names), strict=True):
            given = _read_name(compiled, groups, name, f"{folder}/{name}" if folder else name)
            if given is None:
                unmatched.append(name)
            else:
                splits[of_folder or given[0]].append(given[1:])
    matched = sum(len(records) for records in splits.values())
    if unmatched:
        raise DgaugError(
            f"{root}: {matched:,} of {matched + len(unmatched):,} images match the "
            f"pattern {pattern!r}; {unmatched[0]!r} does not: adapt the pattern, or move what is not meant away"
        )
    try:
        numbers, note = camera_numbers([camera for rows in splits.values() for _, camera in rows])
    except ValueError as error:
        raise DgaugError(f"pattern {pattern!r} finds the camera {str(error)!r}, no number from 0 on") from None
    present = {
        split: [replace(record, camera=numbers[camera]) for record, camera in rows]
        for split, rows in splits.items()
        if rows or split in folders
    }
    notes = (note,) if note else ()
    return IdentityData(root, "pattern", with_gallery_roles(present) if has_junk else present, notes=notes)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The user's name pattern: a regular expression with the named group `identity`, optional `camera` and `split`.

    Raises:
        DgaugError: not a regular expression, no `identity` group, or a group of another name.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise DgaugError(f"pattern {pattern!r} is not a regular expression: {error}") from error
    example = r"(?P<identity>\d+)_cam(?P<camera>\d+)"
    if "identity" not in compiled.groupindex:
        raise DgaugError(f"pattern {pattern!r} has no group named identity; write it like {example}")
    unknown = set(compiled.groupindex) - {"identity", "camera", "split"}
    if unknown:
        raise DgaugError(f"pattern {pattern!r} names the group {min(unknown)!r}; known are identity, camera and split")
    return compiled


def _search(pattern: re.Pattern[str], names: list[str]) -> list[dict[str, str | None] | None]:
    """The pattern's groups in each name (`re.search`; anchor with ^ and $), None where nothing matches.

    Raises:
        DgaugError: the pattern is one that tries more ways to match than there is time for.
    """
    seconds = _LEAST_SECONDS + len(names) // _NAMES_A_SECOND
    ended = subprocess.run(
        [sys.executable, "-I", "-S", search_names.__file__],
        input=json.dumps([pattern.pattern, names, seconds]),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise DgaugError(
            f"pattern {pattern.pattern!r} was given up after {seconds} s on {len(names):,} names: repetitions inside a "
            "repetition, such as (a+)+, try every way to share a name out; write it without"
        )
    given: list[dict[str, str | None] | None] = json.loads(ended.stdout)
    return given


def _read_name(
    pattern: re.Pattern[str], groups: dict[str, str | None] | None, name: str, path: str
) -> tuple[str, Record, str] | None:
    """Split (`train` where the pattern has no such group), record without its camera, and the camera's text.

    None where nothing matches.

    `groups` is what the pattern found in `name`, `path` goes into the record.

    Raises:
        DgaugError: an empty identity, a split of an unknown name.
    """
    if groups is None:
        return None
    given = {group: value or "" for group, value in groups.items()}
    if not given["identity"]:
        raise DgaugError(f"pattern {pattern.pattern!r} finds an empty identity in {name!r}")
    split = split_named(given.get("split", ""))
    if split is None:
        raise DgaugError(
            f"pattern {pattern.pattern!r} finds the split {given['split']!r} in {name!r}; known are {', '.join(SPLITS)}"
        )
    return split, Record(path, given["identity"]), given.get("camera", "")


def _split_folders(root: Path) -> tuple[dict[str, str], bool]:
    """The split folders by any layout's names, and whether that layout has junk and distractors."""
    if present := present_folders(root, MARKET_FOLDERS):
        return present, True
    if present := present_folders(root, VERI_FOLDERS):
        return present, False
    if "train" in (present := present_folders(root, DGNET_FOLDERS)):
        return present, True
    return own_split_folders(root), False
