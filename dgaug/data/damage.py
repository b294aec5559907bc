"""Decode every image once: which are damaged, which are the same file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from dgaug.data.images import DamagedImage, contrast_of, decode_image, read_image_bytes
from dgaug.data.records import IdentityData, Record
from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent

# So few that an interrupt waits for no more than these.
_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Inspection:
    """What decoding one image showed.

    Attributes:
        split, record: which image.
        digest: of the file's bytes.
        damage: why it is damaged; None: it is not.
        contrast: grey levels between its darkest and its brightest pixel, in the channel with the most; 0: one colour.
    """

    split: str
    record: Record
    digest: bytes
    damage: str | None
    contrast: int = 255


def content_digest(content: bytes) -> bytes:
    """The digest of a file's bytes that `IdentityData.contents` holds."""
    return hashlib.blake2b(content, digest_size=16).digest()


def inspect_images(
    data: IdentityData, *, splits: Sequence[str] | None = None, progress: Progress = silent
) -> list[Inspection]:
    """Decode every image of some splits (default: all), in their order; the work is spread over threads."""

    def inspect(item: tuple[str, Record]) -> Inspection:
        path, digest = data.image_path(item[1]), b""
        try:
            content = read_image_bytes(path)
            digest = content_digest(content)
            image = decode_image(content, path)
        except DamagedImage as damaged:
            return Inspection(*item, digest, damaged.reason)
        return Inspection(*item, digest, None, contrast_of(image))

    items = [
        (split, record) for split in data.splits for record in data.splits[split] if splits is None or split in splits
    ]
    inspections: list[Inspection] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as threads:
        for start in range(0, len(items), _AT_ONCE):
            inspections += threads.map(inspect, items[start : start + _AT_ONCE])
            progress("reading images", len(inspections), len(items))
    return inspections


def usable_data(
    data: IdentityData,
    *,
    damaged: str = "refuse",
    splits: Sequence[str] = ("train",),
    progress: Progress = silent,
) -> tuple[IdentityData, list[Inspection]]:
    """Data of which every image in `splits` can be decoded, and what was dropped to get there.

    Args:
        damaged: `refuse` a data set with damaged images, or `skip` them: the caller says so to the user.

    Raises:
        DgaugError: with `refuse`, damaged images: how many, the first of them, what to do.
    """
    if damaged not in ("refuse", "skip"):
        raise DgaugError(f"unknown policy for damaged images {damaged!r}; known are refuse and skip")
    inspections = inspect_images(data, splits=splits, progress=progress)
    dropped = [inspection for inspection in inspections if inspection.damage is not None]
    if dropped and damaged == "refuse":
        first = "; ".join(f"{inspection.record.path} ({inspection.damage})" for inspection in dropped[:3])
        count = f"{len(dropped):,} damaged image" + ("s" if len(dropped) > 1 else "")
        raise DgaugError(
            f"{data.root}: {count}: {first}{' ...' if len(dropped) > 3 else ''}; `dgaug data check {data.root}` "
            "lists them, `--set data.damaged=skip` leaves them out"
        )
    gone = {(inspection.split, inspection.record.path) for inspection in dropped}
    kept = {
        split: [record for record in records if (split, record.path) not in gone]
        for split, records in data.splits.items()
    }
    contents = {inspection.record.path: inspection.digest for inspection in inspections if inspection.digest}
    return replace(data, splits=kept, contents=contents), dropped
