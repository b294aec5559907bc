"""A data set in one line, as every command that reads one shows it, and its files that are no images, by ending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dgaug.data.formats import UNDECODED, ending_of
from dgaug.data.listing import list_other_files
from dgaug.data.records import TABLES, UNKNOWN_CAMERA, IdentityData, Record, Role


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


def left_out(data: IdentityData) -> Counter[str]:
    """How many files below the folders that were read are no images, by ending; a manifest leaves out nothing."""
    if data.layout in TABLES:
        return Counter()
    return Counter(ending_of(name) for folder in _folders(data) for name in list_other_files(folder))


def undecoded(endings: Counter[str]) -> list[str]:
    """A sentence on images and videos among the files left out, and how to have them read; nothing without any."""
    images = Counter({ending: count for ending, count in endings.items() if ending in UNDECODED})
    if not images:
        return []
    heif = {".heic", ".heif", ".hif"} & images.keys()
    remedy = "pip install pillow-heif reads .heic; " if heif else ""
    return [f"{listed(images)} left out, no image that dgaug decodes; {remedy}convert them to .png or .jpg"]


def listed(endings: Counter[str]) -> str:
    """`3 files (.heic 2, .txt 1)`, the most frequent endings first."""
    parts = ", ".join(f"{ending or 'no ending'} {count:,}" for ending, count in endings.most_common(8))
    more = ", ..." if len(endings) > 8 else ""
    return f"{counted(endings.total(), 'file', 'files')} ({parts}{more})"


def _folders(data: IdentityData) -> list[Path]:
    records = [record for records in data.listed.values() for record in records]
    # Where the folders are those of identities, one of them may hold nothing that was read.
    if data.layout == "pattern" or any(record.path.startswith(f"{record.identity}/") for record in records):
        return [data.root]
    return [data.root / top for top in sorted({record.path.partition("/")[0] for record in records})]


def _split(records: Sequence[Record]) -> str:
    roles = Counter(record.role for record in records)
    identities = len({record.identity for record in records if record.role is Role.IDENTITY})
    cameras = len({record.camera for record in records} - {UNKNOWN_CAMERA})
    text = f"{counted(len(records), 'image', 'images')} of {counted(identities, 'identity', 'identities')}, "
    text += counted(cameras, "camera", "cameras") if cameras else "no camera known"
    if roles[Role.DISTRACTOR]:
        text += f", {counted(roles[Role.DISTRACTOR], 'distractor', 'distractors')}"
    return text + (f", {roles[Role.JUNK]:,} junk" if roles[Role.JUNK] else "")
