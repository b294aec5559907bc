"""A data set in one line, as every command that reads one shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role


def summary(data: IdentityData) -> str:
    """`24 images of 6 identities, 3 cameras; query: ...; gallery: ...`, after the source and its layout."""
    parts = []
    for split, records in data.splits.items():
        parts.append((f"{split}: " if split != "train" else "") + _split(records))
    missing = [split for split in ("query", "gallery") if not data.splits.get(split)]
    if missing:
        parts.append(f"no {' and no '.join(missing)}")
    return f"{data.source} ({data.layout}): {'; '.join(parts)}"


def counted(count: int, singular: str, plural: str) -> str:
    """A number with its noun: `1 image`, `1,000 images`."""
    return f"{count:,} {singular if count == 1 else plural}"


def first_of(names: Sequence[str], most: int = 5) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _split(records: Sequence[Record]) -> str:
    roles = Counter(record.role for record in records)
    identities = len({record.identity for record in records if record.role is Role.IDENTITY})
    cameras = len({record.camera for record in records} - {UNKNOWN_CAMERA})
    text = f"{counted(len(records), 'image', 'images')} of {counted(identities, 'identity', 'identities')}, "
    text += counted(cameras, "camera", "cameras") if cameras else "no camera known"
    if roles[Role.DISTRACTOR]:
        text += f", {counted(roles[Role.DISTRACTOR], 'distractor', 'distractors')}"
    return text + (f", {roles[Role.JUNK]:,} junk" if roles[Role.JUNK] else "")
