"""The report on a data set: what is in it, and what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from dgaug.data.damage import Inspection, inspect_images
from dgaug.data.folders import SPLIT_FOLDERS
from dgaug.data.listing import holds_images, list_folders
from dgaug.data.plausible import doubts
from dgaug.data.records import TABLES, UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.data.summary import counted, first_of, left_out, listed, undecoded
from dgaug.progress import Progress, silent

_FAINT = 8
"""Grey levels of 256 below which an image shows next to nothing."""


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """What one split holds, counted as the literature does.

    Attributes:
        images: all files, junk, distractors and damaged ones included.
        identities: identities, junk and distractors not included.
        cameras: different known cameras.
        junk: images that never count.
        distractors: images of nobody who is asked for.
        damaged: files that cannot be decoded.
    """

    images: int
    identities: int
    cameras: int
    junk: int
    distractors: int
    damaged: int


@dataclass(frozen=True)
class DataReport:
    """The report on a data set: layout, counts by split, what is wrong in sentences, and damaged training images."""

    layout: str
    splits: dict[str, SplitCounts]
    problems: list[str]
    damaged_train: frozenset[str] = frozenset()

    @property
    def has_damage(self) -> bool:
        """Whether any image is damaged."""
        return any(counts.damaged for counts in self.splits.values())

    def to_json(self) -> dict[str, object]:
        """The report as plain dicts and lists: the keys layout, splits, problems."""
        return {name: value for name, value in asdict(self).items() if name != "damaged_train"}


def check_data(data: IdentityData, *, progress: Progress = silent) -> DataReport:
    """Decode every image of a data set and report on it."""
    inspections = inspect_images(data, progress=progress)
    damaged = Counter(inspection.split for inspection in inspections if inspection.damage is not None)
    counts = {split: _counts(records, damaged[split]) for split, records in data.splits.items()}
    problems = [
        *_damaged(inspections),
        *_flat(inspections),
        *undecoded(left_out(data)),
        *_empty_splits(data),
        *doubts(data),
        *_single_images(data),
        *_unknown_cameras(data),
        *_unanswerable_queries(data),
        *_shared_identities(data),
        *_copies_across_splits(inspections),
        *_unread_folders(data),
    ]
    train = (one.record.path for one in inspections if one.split == "train" and one.damage is not None)
    return DataReport(data.layout, counts, problems, frozenset(train))


def who_was_read(data: IdentityData) -> list[str]:
    """Sentences that show whether identities were read as they are meant, and what the data are enough for."""
    images = Counter(record.identity for record in data.splits.get("train", ()) if record.role is Role.IDENTITY)
    problems = []
    if images:
        named = [
            f"{identity} ({count:,})"
            for identity, count in sorted(images.items(), key=lambda item: (-item[1], item[0]))
        ]
        fewest, most = min(images.values()), max(images.values())
        if fewest == most:
            problems.append(f"train: {most} {'image' if most == 1 else 'images'} of each identity: {first_of(named)}")
        else:
            problems.append(
                f"train: {fewest:,} to {most:,} images of each identity; most: {first_of(named)}; "
                f"fewest: {first_of(named[::-1])}"
            )
    missing = [split for split in ("query", "gallery") if not data.splits.get(split)]
    if missing:
        packed = "; before training, dgaug data pack DIR --hold-out N writes a manifest with N identities there"
        problems.append(
            f"no {' and '.join(missing)}: enough to train and to synthesize, not to evaluate a re-id model"
            f"{packed if len(missing) > 1 else ''}"
        )
    if endings := left_out(data):
        problems.append(f"{listed(endings)} left out: no images")
    return problems


def _counts(records: Sequence[Record], damaged: int) -> SplitCounts:
    roles = Counter(record.role for record in records)
    return SplitCounts(
        images=len(records),
        identities=len({record.identity for record in records if record.role is Role.IDENTITY}),
        cameras=len({record.camera for record in records} - {UNKNOWN_CAMERA}),
        junk=roles[Role.JUNK],
        distractors=roles[Role.DISTRACTOR],
        damaged=damaged,
    )


def _damaged(inspections: Iterable[Inspection]) -> Iterable[str]:
    for inspection in inspections:
        if inspection.damage is not None:
            yield f"{inspection.split}: damaged image {inspection.record.path}: {inspection.damage}"


def _flat(inspections: Sequence[Inspection]) -> Iterable[str]:
    for split in dict.fromkeys(inspection.split for inspection in inspections):
        seen = [one for one in inspections if one.split == split and one.damage is None]
        blank = [one.record.path for one in seen if one.contrast == 0]
        faint = [one.record.path for one in seen if 0 < one.contrast < _FAINT]
        if blank:
            yield f"{split}: {_count(blank, 'images')} of one colour, a failed crop or a blank frame: {first_of(blank)}"
        if faint:
            yield f"{split}: {_count(faint, 'images')} of almost no contrast, below {_FAINT} levels: {first_of(faint)}"


def _empty_splits(data: IdentityData) -> Iterable[str]:
    for split, records in data.splits.items():
        if not records:
            yield f"{split}: no images"


def _single_images(data: IdentityData) -> Iterable[str]:
    images = Counter(record.identity for record in data.splits.get("train", ()))
    single = sorted(identity for identity, count in images.items() if count == 1)
    if single:
        yield f"train: {_count(single, 'identities')} with one image only, no positive pair: {first_of(single)}"


def _unknown_cameras(data: IdentityData) -> Iterable[str]:
    for split, records in data.splits.items():
        without = [record.path for record in records if record.camera == UNKNOWN_CAMERA]
        if without:
            yield f"{split}: {len(without):,} of {len(records):,} images have an unknown camera: {first_of(without)}"


def _unanswerable_queries(data: IdentityData) -> Iterable[str]:
    queries = data.splits.get("query", ())
    cameras: defaultdict[str, set[int]] = defaultdict(set)
    for record in data.splits.get("gallery", ()):
        if record.role is Role.IDENTITY:
            cameras[record.identity].add(record.camera)
    # Without cameras no match can be ruled out.
    alone = [
        record.path
        for record in queries
        if not (cameras[record.identity] if record.camera < 0 else cameras[record.identity] - {record.camera})
    ]
    if alone:
        yield f"query: {_count(alone, 'images')} without a match from another camera in the gallery: {first_of(alone)}"


def _shared_identities(data: IdentityData) -> Iterable[str]:
    if data.layout == "msmt17":  # its test identities count from 0 again
        return
    train = {record.identity for record in data.splits.get("train", ())}
    for split in ("query", "gallery"):
        identities = {record.identity for record in data.splits.get(split, ()) if record.role is Role.IDENTITY}
        shared = sorted(train & identities)
        if shared:
            names = first_of(shared)
            known = _count(shared, "identities")
            yield f"{split}: {known} named as in train, a leak if they are the same people: {names}"


def _copies_across_splits(inspections: Iterable[Inspection]) -> Iterable[str]:
    copies: defaultdict[bytes, dict[str, str]] = defaultdict(dict)
    for inspection in inspections:
        # The multi-query folder repeats images of the other splits by design.
        if inspection.digest and inspection.split != "multi-query":
            copies[inspection.digest].setdefault(inspection.split, inspection.record.path)
    examples = [" = ".join(paths.values()) for paths in copies.values() if len(paths) > 1]
    if examples:
        yield f"{_count(examples, 'images')} in more than one split, byte by byte: {first_of(examples)}"


def _unread_folders(data: IdentityData) -> Iterable[str]:
    if data.layout in (*TABLES, "pattern", "boxmot-yaml"):
        return
    read = {record.path.partition("/")[0] for records in data.splits.values() for record in records}
    # DG-Net's own split of train_all repeats its images.
    repeated = {"train", "val"} if data.layout == "dgnet-folders" else set()
    for folder in list_folders(data.root):
        if folder not in read | repeated and folder.lower() in SPLIT_FOLDERS and holds_images(data.root / folder):
            yield f"{folder}: a folder with images that belong to no split of this layout; they are not read"


def _count(names: Sequence[str], plural: str) -> str:
    return counted(len(names), {"identities": "identity", "images": "image"}[plural], plural)
