"""What a merged export holds, image by image, before anything is written."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgaug.data.market import MARKET_FOLDERS
from dgaug.data.names import SPLITS
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.errors import DgaugError
from dgaug.store.merge_names import BOXMOT, MARKET, Numbers, Reader, is_read_as, numbers_of
from dgaug.store.merge_selection import Selection
from dgaug.store.read import StoreDataset

READERS = {"market": MARKET, "boxmot": BOXMOT}
JPEG_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif")


@dataclass(frozen=True)
class Entry:
    """One image of the export.

    Attributes:
        path: where it goes, relative to the export's folder.
        record: what it is; of a generated image the identity of its label and the camera of its structure donor. The
            record's path is that of the real image.
        person: the identity in tables: one name for one person.
        split: the split it belongs to.
        row: the row of a generated image in the store; None: a real one.
        appearance, structure: its donors, as rows of the sources; -1 of a real one.
    """

    path: str
    record: Record
    person: str
    split: str
    row: int | None = None
    appearance: int = -1
    structure: int = -1


@dataclass(frozen=True)
class Plan:
    """All images of an export.

    Attributes:
        entries: real ones first, split by split, then generated ones in pair order.
        numbers: of file names; None where the format has none.
        notes: what a reader of the result should know, in sentences.
        sources: where each source image lies in the export; in the data where it holds no real images.
    """

    entries: list[Entry]
    sources: list[str]
    numbers: Numbers | None
    notes: list[str]

    def digest(self) -> str:
        """The sha256 of what goes where."""
        rows = [(one.path, one.record.path, one.person, one.record.camera, one.split, one.row) for one in self.entries]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def plan_export(
    store: StoreDataset, data: IdentityData | None, chosen: Selection, *, tool: str, unknown_camera: int | None
) -> Plan:
    """Where each image goes for a tool.

    Raises:
        DgaugError: the format cannot hold the identities or cameras, or two images would have one name.
    """
    real = _real(data, tool) if data is not None else []
    generated = list(_generated(store, chosen, _cameras(store, data)))
    notes = _notes(store, data, real, tool)
    reader = READERS.get(tool)
    if reader is None:
        if unknown_camera is not None:
            raise DgaugError(f"--unknown-camera is of --for market and boxmot, found --for {tool}; remove it")
        entries = [*(replace(one, path=f"real/{one.record.path}") for one in real), *generated]
        _require_different(entries)
        return Plan(entries, _sources(store, entries), None, notes)
    numbers = _numbers(real, generated, reader, unknown_camera)
    entries = [*_market_names(real, numbers), *(_market_name(one, numbers) for one in generated)]
    _require_different(entries)
    others = sum(not one.record.path.lower().endswith(JPEG_ENDINGS) for one in real)
    if others:
        notes.append(f"{others:,} images that are no JPEG files have names in .jpg, the ones that readers look for")
    return Plan(
        entries, _sources(store, entries), numbers, [*notes, *numbers.notes, *_camera_note(entries, numbers, reader)]
    )


def _sources(store: StoreDataset, entries: Iterable[Entry]) -> list[str]:
    place = {one.record.path: one.path for one in entries if one.split == "train" and one.row is None}
    return [place.get(path, path) for path in store.sources.path]


def _real(data: IdentityData, tool: str) -> list[Entry]:
    """The real images that the format can hold, each with its place in DATA as its path."""
    return [
        Entry(record.path, record, _person(data, split, record), split)
        for split in SPLITS
        for record in data.splits.get(split, ())
        if _holds(tool, split, record)
    ]


def _holds(tool: str, split: str, record: Record) -> bool:
    if tool in READERS:
        return split in MARKET_FOLDERS
    if tool == "oml":
        return split in ("train", "query", "gallery") and record.role is not Role.JUNK
    return tool != "wildlife" or record.role is not Role.JUNK


def _person(data: IdentityData, split: str, record: Record) -> str:
    # The test identities of MSMT17 count from 0 again and are other people.
    apart = data.layout == "msmt17" and split in ("query", "gallery")
    return f"test-{record.identity}" if apart else record.identity


def _cameras(store: StoreDataset, data: IdentityData | None) -> list[int]:
    """The cameras of the sources, as the data were read."""
    read = {record.path: record.camera for record in data.splits["train"]} if data is not None else {}
    known = store.sources.camera.tolist()
    return [read.get(path, camera) for path, camera in zip(store.sources.path, known, strict=True)]


def _generated(store: StoreDataset, chosen: Selection, cameras: Sequence[int]) -> Iterator[Entry]:
    sources = store.sources
    columns = (chosen.rows, chosen.appearance, chosen.structure, chosen.identity)
    for row, i, j, label in zip(*(column.tolist() for column in columns), strict=True):
        name = sources.class_name[label]
        path = f"generated/{row // 10_000:05d}/{row:09d}.jpg"
        record = Record(path, name, cameras[j])
        yield Entry(path, record, name, "train", row, i, j)


def _numbers(real: list[Entry], generated: list[Entry], reader: Reader, unknown_camera: int | None) -> Numbers:
    known = [one for one in real if one.record.role is Role.IDENTITY]
    return numbers_of(
        (one.person for one in known),
        (one.record.camera for one in [*real, *generated]),
        reader,
        zero_is_nobody=any(one.record.role is Role.DISTRACTOR for one in real),
        unknown_camera=unknown_camera,
    )


def _market_names(real: list[Entry], numbers: Numbers) -> Iterator[Entry]:
    """Names that say what a record is are kept; other images are named anew, counted within their split."""
    kept: dict[int, str] = {}
    taken: set[tuple[str, str]] = set()
    for place, one in enumerate(real):
        name = one.record.path.rpartition("/")[2]
        identity, camera = numbers.of(one.record, one.person, query=one.split == "query")
        if is_read_as(name, identity, camera) and (one.split, name) not in taken:
            kept[place] = name
            taken.add((one.split, name))
    counts = Counter[str]()
    for place, one in enumerate(real):
        identity, camera = numbers.of(one.record, one.person, query=one.split == "query")
        while place not in kept:
            counts[one.split] += 1
            name = f"{identity}_c{camera}s1_{counts[one.split]:06d}_00.jpg"
            if (one.split, name) not in taken:
                kept[place] = name
        yield replace(one, path=f"{MARKET_FOLDERS[one.split]}/{kept[place]}")


def _market_name(one: Entry, numbers: Numbers) -> Entry:
    identity, camera = numbers.of(one.record, one.person)
    return replace(one, path=f"{MARKET_FOLDERS['train']}/{identity}_c{camera}s1_{one.row:07d}_00.jpg")


def _camera_note(entries: Sequence[Entry], numbers: Numbers, reader: Reader) -> list[str]:
    """A sentence where a camera's number is higher than training has cameras."""
    seen = {(one.split, numbers.camera_of(one.record.camera, query=one.split == "query")) for one in entries}
    train, highest = sum(split == "train" for split, _ in seen), max(camera for _, camera in seen)
    if highest <= train or reader is not MARKET:
        return []
    return [
        f"training has {train} cameras, the highest number is c{highest}: SIE_CAMERA of TransReID and CLIP-ReID has no "
        "place for it; leave it off"
    ]


def _require_different(entries: Iterable[Entry]) -> None:
    there: dict[str, Entry] = {}
    for one in entries:
        other = there.setdefault(one.path, one)
        if other is not one:
            raise DgaugError(
                f"{_named(other)} and {_named(one)} would both be {one.path}; rename the file in the data, or use "
                "--for csv, which keeps real and generated images in folders of their own"
            )


def _named(one: Entry) -> str:
    return f"image {one.row} of the store" if one.row is not None else f"the real image {one.record.path}"


def _notes(store: StoreDataset, data: IdentityData | None, real: list[Entry], tool: str) -> list[str]:
    notes: list[str] = []
    if data is None:
        return notes
    left = Counter(
        "junk" if record.role is Role.JUNK else split
        for split in SPLITS
        for record in data.splits.get(split, ())
        if not _holds(tool, split, record)
    )
    notes += [f"{count:,} {kind} images left out: the format has no place for them" for kind, count in left.items()]
    missing = [split for split in ("query", "gallery") if not any(one.split == split for one in real)]
    if missing and tool != "huggingface":
        notes.append(f"the data have no {' and no '.join(missing)}: enough to train, not to evaluate")
    unknown = sum(one.record.camera == UNKNOWN_CAMERA for one in real)
    if unknown and tool not in READERS:
        notes.append(f"{unknown:,} of {len(real):,} real images have an unknown camera: an empty cell")
    return notes


def quotas(store: StoreDataset, ratio: float) -> NDArray[np.int64]:
    """How many generated images each class may have, int64 [C]: `ratio` for each of its real ones, rounded."""
    count = np.bincount(store.sources.identity, minlength=len(store.sources.class_name))
    return np.asarray(np.floor(count * ratio + 0.5).astype(np.int64))


def sizes_note(data: IdentityData, real: Iterable[Entry], generated: tuple[int, int]) -> list[str]:
    """A sentence where the real images have other sizes than the generated ones, or several."""
    sizes = Counter[tuple[int, int]]()
    for one in real:
        with Image.open(Path(data.root) / one.record.path) as image:
            sizes[(image.height, image.width)] += 1
    if set(sizes) <= {generated}:
        return []
    shown = ", ".join(f"{height} x {width} ({count:,})" for (height, width), count in sizes.most_common(3))
    more = f" and {len(sizes) - 3:,} more" if len(sizes) > 3 else ""
    height, width = generated
    return [f"image sizes differ: real ones {shown}{more}, generated ones {height} x {width}; the readers resize them"]
