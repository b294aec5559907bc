"""The layouts with one folder per identity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dgaug.data.listing import has_own_images, holds_images, list_folders, list_images
from dgaug.data.market import MARKET_FOLDERS, VERI_FOLDERS, present_folders, read_flat, with_gallery_roles
from dgaug.data.names import identity_and_camera
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record
from dgaug.errors import DgaugError

DGNET_FOLDERS = {"train": "train_all", "query": "query", "gallery": "gallery", "multi-query": "multi-query"}
OWN_FOLDERS: dict[str, str | tuple[str, ...]] = {
    "train": "train",
    "query": ("query", "probe"),
    "gallery": ("gallery", "test"),
    "multi-query": "multi-query",
    "val": ("val", "validation"),
}
# What a folder of a split, and hence never of an identity, is called, in any case
SPLIT_FOLDERS = {*MARKET_FOLDERS.values(), *VERI_FOLDERS.values(), *DGNET_FOLDERS.values()} | {
    *("train", "test", "val", "validation", "probe")
}


def read_dgnet_folders(root: Path) -> IdentityData | None:
    """Read the folders of the published DG-Net preparation (`train_all`, ...); None where there is no `train_all`.

    `train` and `val` beside it hold the same images once more and are not read. Source: method.md 1.1.
    """
    present = present_folders(root, DGNET_FOLDERS)
    if "train" not in present:
        return None
    splits = _read_splits(root, present)
    return IdentityData(root, "dgnet-folders", with_gallery_roles(splits))


def read_split_folders(root: Path) -> IdentityData | None:
    """Read `train/<identity>/`, `query/<identity>/` (or `probe`), `gallery/<identity>/` (or `test`), in any case.

    Images straight in these folders are read where every name follows Market-1501's rule. None where there are none.
    """
    present = own_split_folders(root)
    # A handful tells the layout; an empty identity folder or two must not hide it.
    some = (root / folder / name for folder in present.values() for name in list_folders(root / folder)[:20])
    if any(holds_images(folder) for folder in some):
        return IdentityData(root, "identity-folders", _read_splits(root, present))
    return read_flat(root, present) if present and _named_by_rule(root, present) else None


def read_identity_folders(root: Path) -> IdentityData | None:
    """Read `<identity>/*.jpg` as a training split; None where no sub-folder holds images of its own."""
    names = list_folders(root)
    if SPLIT_FOLDERS & {name.lower() for name in names} or not any(has_own_images(root / name) for name in names):
        return None
    return IdentityData(root, "identity-folders", {"train": list(_records(root, ""))})


def own_split_folders(root: Path) -> dict[str, str]:
    """The split folders of a user's own data: `query` before `probe`, `gallery` before `test`."""
    return present_folders(root, OWN_FOLDERS)


def _named_by_rule(root: Path, present: dict[str, str]) -> bool:
    """Whether there are images, and each name gives identity and camera."""
    names = [name for folder in present.values() for name in list_images(root / folder)]
    parsed = [identity_and_camera(name) for name in names]
    return bool(parsed) and all(one is not None and one[1] != UNKNOWN_CAMERA for one in parsed)


def _read_splits(root: Path, present: dict[str, str]) -> dict[str, list[Record]]:
    return {split: list(_records(root, f"{folder}/")) for split, folder in present.items()}


def _records(root: Path, prefix: str) -> Iterator[Record]:
    for path in list_images(root / prefix):
        identity, slash, _ = path.partition("/")
        if not slash:
            raise DgaugError(
                f"{root / prefix}: the image {path!r} lies in no identity's folder; move it into one, or give a "
                "pattern for names of your own: --pattern '(?P<identity>...)'"
            )
        named = identity_and_camera(path.rpartition("/")[2])
        # Only a name that repeats the identity follows a published rule; in others `_c3` may mean anything.
        camera = named[1] if named and named[0] == identity else UNKNOWN_CAMERA
        yield Record(prefix + path, identity, camera)
