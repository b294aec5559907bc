"""MSMT17 as published: two folders of identities, and lists that say which image is in which split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dgaug.data.names import identity_and_camera
from dgaug.data.records import IdentityData, Record
from dgaug.errors import DgaugError

_LISTS = {"train": ("list_train.txt", "list_val.txt"), "query": ("list_query.txt",), "gallery": ("list_gallery.txt",)}
_FOLDERS = {"train": ("train", "mask_train_v2"), "test": ("test", "mask_test_v2")}


def read_msmt17(root: Path) -> IdentityData | None:
    """Read MSMT17 V1 (`train`, `test`) or V2 (`mask_train_v2`, `mask_test_v2`); None where no list is there.

    The identity is the number in the list, written with four digits; 0000 is a person like any other, and the test
    identities count from 0 again: names shared by train and test are different people.

    Raises:
        DgaugError: a list without its folder, or a line that is not `path number`.
    """
    if not (root / "list_train.txt").is_file() and not (root / "list_gallery.txt").is_file():
        return None
    splits = {}
    for split, lists in _LISTS.items():
        present = [root / name for name in lists if (root / name).is_file()]
        if present:
            folder = _folder(root, "train" if split == "train" else "test")
            records = [record for path in present for record in _records(path, folder)]
            splits[split] = sorted(records, key=lambda record: record.path)
    return IdentityData(root, "msmt17", splits)


def _folder(root: Path, part: str) -> str:
    for folder in _FOLDERS[part]:
        if (root / folder).is_dir():
            return folder
    raise DgaugError(f"{root}: there are lists of MSMT17, but none of the folders {', '.join(_FOLDERS[part])}")


def _records(path: Path, folder: str) -> Iterator[Record]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DgaugError(f"{path}: the list cannot be read ({error})") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        image, _, label = line.strip().rpartition(" ")
        parsed = identity_and_camera(image.rpartition("/")[2])
        inside = not image.startswith("/") and ".." not in image.split("/")
        if parsed is None or not inside or not (label.isascii() and label.isdigit()):
            example = "0000/0000_000_01_0303morning_0008_0.jpg 0"
            raise DgaugError(f"{path}, line {number}: expected a line like {example!r}, found {line!r}")
        yield Record(f"{folder}/{image}", f"{int(label):04d}", parsed[1])
