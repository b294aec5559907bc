"""Whether what was taken for identities are identities: folders of cameras, splits or kinds are not."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from unicodedata import normalize

from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.data.summary import counted, first_of
from dgaug.errors import DgaugError

MANIFEST_ADVICE = "write a manifest.csv with the header path,identity,camera,split (docs/own-data.md)"
_CAMERAS = {"cam", "cams", "camera", "cameras", "kamera", "webcam", "cctv"}
_SPLITS = {"train", "training", "test", "testing", "query", "probe", "gallery", "val", "valid", "validation"}
_IMAGES = {"image", "images", "img", "imgs", "frames", "crops", "photos", "pictures"}
_KINDS = {"rgb", "ir", "nir", "infrared", "thermal", "visible", "sketch", "sketches"}
_FILLING = _SPLITS | _IMAGES | {"all", "set", "split", "data", "bbox", "bounding", "box", "boxes", "list", "part"}
_NOBODY = {"unknown", "none", "null", "nan", "na", "n/a", "?", "unlabeled", "unlabelled", "unidentified", "background"}
_FEW, _MANY = 3, 10
"""Folders that may be cameras or kinds rather than people, and images from which on that is remarkable."""


def require_identity_folders(data: IdentityData) -> None:
    """Refuse folders taken for identities that look like cameras, splits or kinds of images.

    Raises:
        DgaugError: names the folders, why, and how to read them.
    """
    for split, records in data.splits.items():
        folders = _Folders(split, records)
        reason = folders.no_identities()
        if reason:
            names = first_of([repr(name) for name in folders.names], 4)
            raise DgaugError(
                f"{data.root}: {split}: each of the folders {names} would be an identity, but {reason}; "
                f"{folders.advice()}; if they are identities: --layout identity-folders (in training "
                "--set data.layout=identity-folders)"
            )


def doubts(data: IdentityData) -> list[str]:
    """Sentences on identities and cameras that are possible and yet seldom meant."""
    sentences: list[str] = []
    for split, records in data.splits.items():
        if data.layout == "identity-folders":
            sentences += _Folders(split, records).doubts()
        known = [record for record in records if record.role is Role.IDENTITY]
        sentences += [
            f"{split}: {sentence}" for sentence in (*_crowded(known), *_nobody(known), *_as_many_cameras(known))
        ]
    return sentences


class _Folders:
    """The folders of one split that were taken for identities."""

    def __init__(self, split: str, records: Sequence[Record]) -> None:
        self.split = split
        self._inside: defaultdict[str, list[list[str]]] = defaultdict(list)
        for record in records:
            parts = record.path.split("/")
            # A split's folder may come first, and the folder's name may be in another form of Unicode.
            place = [normalize("NFC", part) for part in parts].index(normalize("NFC", record.identity))
            self._inside[record.identity].append(parts[place + 1 :])
        self.names = sorted(self._inside)

    def no_identities(self) -> str:
        """Why these are no identities; empty where nothing says so."""
        words = {name: set(re.findall(r"[a-z]+", name.lower())) for name in self.names}
        half = len(self.names) / 2
        if [name for name in self.names if words[name] & _SPLITS and words[name] <= _FILLING]:
            return "they are named like splits"
        if len(self.names) > 1 and sum(bool(words[name] & _CAMERAS) for name in self.names) >= half:
            return "they are named like cameras"
        if self.names and sum(bool(words[name] & _IMAGES) for name in self.names) >= half:
            return "they are named like folders of images"
        if len(self.names) > 1 and sum(bool(words[name] & _KINDS) for name in self.names) >= half:
            return "they are named like kinds of images"
        if self._only_folders() and (len(self.names) <= _FEW or self._people_inside()):
            return f"they hold only folders ({self._example()})"
        return ""

    def advice(self) -> str:
        """How to read these folders."""
        if all(len(inside) > 1 for paths in self._inside.values() for inside in paths):
            outer = "(?P<camera>[^/]+)" if self.no_identities().endswith("cameras") else "[^/]+"
            pattern = f"^{outer}/(?P<identity>[^/]+)/"
        elif all("_" in inside[-1] for paths in self._inside.values() for inside in paths):
            pattern = "^(?P<camera>[^/]+)/(?P<identity>[^_/]+)_"
        else:
            return MANIFEST_ADVICE
        return f"give --pattern '{pattern}' (in training --set 'data.pattern={pattern}'), or {MANIFEST_ADVICE}"

    def doubts(self) -> Iterator[str]:
        """What is possible and yet seldom meant."""
        if self._only_folders():
            yield (
                f"{self.split}: the {counted(len(self.names), 'identity', 'identities')} are folders that hold only "
                f"folders ({self._example()}); the first folder is taken for the identity"
            )

    def _only_folders(self) -> bool:
        paths = [(name, inside) for name in self.names for inside in self._inside[name]]
        # Files that repeat the folder's name, as tracklets do, say who it is.
        return len(self.names) > 1 and all(
            len(inside) > 1 and not re.match(rf"{re.escape(name)}(?![a-z0-9])", inside[-1], re.IGNORECASE)
            for name, inside in paths
        )

    def _people_inside(self) -> bool:
        """Whether the same folders lie in several of these, and more of them: cameras that hold people."""
        inner = Counter(one for name in self.names for one in {inside[0] for inside in self._inside[name]})
        return len(inner) >= len(self.names) and sum(inner.values()) >= 1.5 * len(inner)

    def _example(self) -> str:
        return f"{self.names[0]}/{self._inside[self.names[0]][0][0]}/"


def _crowded(records: Sequence[Record]) -> Iterator[str]:
    images = Counter(record.identity for record in records)
    largest = images.most_common(_FEW)
    share = sum(count for _, count in largest) / max(1, len(records))
    if len(records) >= _MANY and len(images) > 1 and share >= 0.9:
        names = ", ".join(f"{name} ({count:,})" for name, count in largest)
        yield (
            f"{share:.0%} of the {len(records):,} images show {len(largest)} identities: {names}; are these people, or "
            "cameras, kinds or leftovers?"
        )


def _nobody(records: Sequence[Record]) -> Iterator[str]:
    images = Counter(record.identity for record in records if record.identity.strip().lower() in _NOBODY)
    for name, count in images.items():
        yield (
            f"{counted(count, 'image', 'images')} of the identity {name!r} count as one identity; leave them out if "
            "nobody knows who they show"
        )


def _as_many_cameras(records: Sequence[Record]) -> Iterator[str]:
    cameras = {record.camera for record in records} - {UNKNOWN_CAMERA}
    if len(records) >= _MANY and len(cameras) == len(records):
        yield f"each of the {len(records):,} images has a camera of its own; is the camera a number of the image?"
