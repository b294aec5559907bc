"""The flat layouts: one folder per split, identity and camera in the file names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from dgaug.data.listing import list_folders, list_images
from dgaug.data.names import identity_and_camera, named_like
from dgaug.data.plausible import MANIFEST_ADVICE
from dgaug.data.records import IdentityData, Record, Role
from dgaug.errors import DgaugError

MARKET_FOLDERS = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
    "multi-query": "gt_bbox",
}
_NAMES = (
    "names like 0002_c1s1_000451_03.jpg are expected here, give a pattern for others: --pattern '(?P<identity>...)'"
)
VERI_FOLDERS = {"train": "image_train", "query": "image_query", "gallery": "image_test"}


def present_folders(root: Path, folders: Mapping[str, str | tuple[str, ...]]) -> dict[str, str]:
    """The split folders that exist, in any case; empty unless a training or a gallery folder is among them.

    Of several names for a split the first that exists is taken.

    Raises:
        DgaugError: two folders whose names differ in case only.
    """
    there: defaultdict[str, list[str]] = defaultdict(list)
    for name in list_folders(root) if root.is_dir() else ():
        there[name.lower()].append(name)
    parsed = {}
    for split, names in folders.items():
        alike = next((there[name] for name in ((names,) if isinstance(names, str) else names) if there[name]), [])
        if len(alike) > 1:
            raise DgaugError(f"{root}: the folders {' and '.join(alike)} both name the split {split}; keep one of them")
        if alike:
            parsed[split] = alike[0]
    return parsed if "train" in parsed or "gallery" in parsed else {}


def read_market(root: Path) -> IdentityData | None:
    """Read `bounding_box_train`, `query`, `bounding_box_test`, `gt_bbox`; None where they are not there.

    The file names tell Market-1501, DukeMTMC-reID, CUHK03-NP and a repacked MSMT17 apart. In the gallery, -1 is junk
    and 0000 a distractor, except in MSMT17, where 0000 is a person like any other.

    Raises:
        DgaugError: a file name without an identity.
    """
    present = present_folders(root, MARKET_FOLDERS)
    return read_flat(root, present) if present else None


def read_flat(root: Path, present: Mapping[str, str]) -> IdentityData:
    """Read split folders of images whose names follow a published rule; see `read_market`."""
    data = _read_flat(root, present)
    first = next((record for records in data.splits.values() for record in records), None)
    if first is None:
        return data
    layout = named_like(first.path.rpartition("/")[2])
    splits = data.splits if layout == "msmt17" else with_gallery_roles(data.splits)
    return replace(data, layout=layout, splits=splits)


def read_cuhk03(root: Path) -> IdentityData | None:
    """Read the `detected` (preferred) or `labeled` folder of CUHK03-NP; None where neither is there."""
    for version in ("detected", "labeled"):
        data = read_market(root / version)
        if data is not None:
            return replace(data, layout="cuhk03-np")
    return None


def read_veri(root: Path) -> IdentityData | None:
    """Read `image_train`, `image_query`, `image_test` of VeRi-776; None where they are not there."""
    present = present_folders(root, VERI_FOLDERS)
    return replace(_read_flat(root, present), layout="veri776") if present else None


def with_gallery_roles(splits: Mapping[str, list[Record]]) -> dict[str, list[Record]]:
    """Mark -1 as junk and 0000 as distractor in the gallery.

    An identity that is asked for cannot be a distractor: 0000 keeps its role where a query shows it, as in the
    repacked forms of MSMT17.
    """
    roles = {"-1": Role.JUNK, "0000": Role.DISTRACTOR}
    for record in splits.get("query", ()):
        roles.pop(record.identity, None)
    gallery = splits.get("gallery", ())
    marked = [
        replace(record, role=roles[record.identity]) if record.identity in roles else record for record in gallery
    ]
    return {split: marked if split == "gallery" else records for split, records in splits.items()}


def _read_flat(root: Path, present: Mapping[str, str]) -> IdentityData:
    splits = {split: list(_records(root, folder, list_images(root / folder))) for split, folder in present.items()}
    return IdentityData(root, "market1501", splits)


def _records(root: Path, folder: str, names: Iterable[str]) -> Iterable[Record]:
    for name in names:
        parsed = identity_and_camera(name.rpartition("/")[2])
        if parsed is None:
            only_numbers = name.rpartition("/")[2].partition(".")[0].isdigit()
            raise DgaugError(
                f"{root / folder}: no identity in the file name {name!r}; "
                + (f"no pattern can find one in a number: {MANIFEST_ADVICE}" if only_numbers else _NAMES)
            )
        yield Record(f"{folder}/{name}", *parsed)
