"""The files of a data set that are no images to dgaug, by ending."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dgaug.data.formats import UNDECODED, ending_of
from dgaug.data.listing import list_other_files
from dgaug.data.records import TABLES, IdentityData
from dgaug.data.summary import counted


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
