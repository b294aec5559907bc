"""One image of one identity, and the splits of a data set: what every layout is read into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

UNKNOWN_CAMERA = -1
TABLES = ("manifest", "oml-csv", "wildlife-csv")
"""Layouts in which a table names every image."""


class Role(str, Enum):
    """What a gallery image is for the ranking protocol."""

    IDENTITY = "identity"
    JUNK = "junk"  # never counted, neither right nor wrong (Market-1501: -1)
    DISTRACTOR = "distractor"  # always wrong (Market-1501: 0000)


@dataclass(frozen=True, slots=True)
class Record:
    """One image.

    Attributes:
        path: POSIX path relative to the data root.
        identity: the identity's name as the data set writes it (`0002`).
        camera: camera number as the data set writes it, or `UNKNOWN_CAMERA`.
        role: identity, junk or distractor.
    """

    path: str
    identity: str
    camera: int = UNKNOWN_CAMERA
    role: Role = Role.IDENTITY


@dataclass(frozen=True)
class IdentityData:
    """A data set on disk: its root, the layout it was read as, and its splits.

    `splits` maps `train`, `query`, `gallery` and, where there are such, `multi-query` and `val` to records sorted by
    path. `listed` is all that was read, whatever limit, damage or camera policy took from `splits` since. `manifest`
    is the CSV file that the records come from. `notes` are sentences on what was read otherwise than it is written.
    `levels` are the grey levels of 16-bit images that become black and white; None: all 16 bits. `contents` has
    the digest of each file that was read, by its path: equal files have equal ones.
    """

    root: Path
    layout: str
    splits: dict[str, list[Record]] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    listed: dict[str, list[Record]] = field(default_factory=dict, compare=False)
    manifest: Path | None = field(default=None, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    levels: tuple[int, int] | None = field(default=None, compare=False)

    @property
    def source(self) -> Path:
        """What opens this data set again: the manifest, or the root."""
        return self.manifest or self.root

    def image_path(self, record: Record) -> Path:
        """The file of a record."""
        return self.root / record.path


def class_names(records: Iterable[Record]) -> list[str]:
    """Identity names in class order: plain string sort, 0-based (method: data, class index)."""
    return sorted({record.identity for record in records if record.role is Role.IDENTITY})
