"""The folder of an export: what it holds is written in `export.json`, and nothing else is ever removed from it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dgaug.errors import DgaugError
from dgaug.files import read_json, write_json
from dgaug.outputs import already_complete, require_only, require_same_settings

ABOUT = "export.json"
IMAGES = "bounding_box_train"
LABELS = "labels.csv"
IDENTITIES = "identities.csv"
UNFINISHED = ".part"
_OWN = {".lock", ABOUT, f".{ABOUT}.part.json"}
_SCHEMA = 1
_IMAGE = re.compile(r"\.?\d{4,}(?:_c\d+s1)?_\d{7,}_00\.jpg(?:\.part(?:\.jpg)?)?")
_TAR = re.compile(r"\.?(\d{6})\.tar(?:\.part\.tar)?")
_TABLE = re.compile(r"labels\.csv|identities\.csv|\.(?:labels|identities)\.csv\.part\.csv")


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """The settings that decide every byte of an export.

    Attributes:
        to: `folders`, `webdataset` or `csv`.
        labels: the label policy.
        identity: whose identity a file name carries: `appearance`, `structure` or `new`.
        unknown_camera: the number in the names of images of unknown camera; None leaves it out.
        pictures: how many, from the first on of those that were chosen.
        shard_size: images per tar file; 0 where there are none.
        store: hex sha256 over the store's settings, sources and shards.
        select: the judge that chose the images; None: nobody did.
    """

    to: str
    labels: str
    identity: str
    unknown_camera: int | None
    pictures: int
    shard_size: int
    store: str
    select: str | None = None

    @property
    def tars(self) -> int:
        """Number of tar files."""
        return -(-self.pictures // self.shard_size) if self.to == "webdataset" else 0

    @property
    def results(self) -> list[str]:
        """What a finished export holds beside `export.json`."""
        if self.to == "webdataset":
            return [tar_name(number) for number in range(self.tars)]
        return [IMAGES, LABELS, IDENTITIES] if self.to == "folders" else [LABELS]


def tar_name(number: int) -> str:
    """The name of a tar file."""
    return f"{number:06d}.tar"


def require_export_folder(out: Path) -> None:
    """Refuse a folder that is in use for something else; creates nothing.

    Raises:
        DgaugError: `out` holds files and no `export.json`, or is a file.
    """
    if not (out / ABOUT).is_file():
        require_only(out, _OWN, of="an export", hidden=True)


def begin_export(out: Path, spec: ExportSpec, *, force: bool) -> bool:
    """Write `export.json`, or resume the export that is there; True where it is complete.

    Raises:
        DgaugError: the export there has other settings, or files in it were written by nobody here.
    """
    about = out / ABOUT
    if about.is_file():
        recorded = read_json(about)
        if recorded.get("export") != _SCHEMA:
            raise DgaugError(f"expected {about} of a dgaug export, found another file; choose another --out")
        if force:
            _clear(out, recorded)
        else:
            require_recorded(out, recorded, asdict(spec))
            if recorded.get("complete") is True and all((out / name).exists() for name in spec.results):
                already_complete(out)
                return True
    write_json(about, _about(spec, complete=False))
    return False


def require_recorded(out: Path, recorded: Mapping[str, object], asked: Mapping[str, object]) -> None:
    """Refuse to resume or to show an export that `export.json` describes with other settings; DgaugError names them."""
    require_same_settings(out, {name: recorded.get(name) for name in asked}, asked)


def require_cleared(out: Path) -> None:
    """After what an export wrote was removed: DgaugError where something else is in its folder, which stays."""
    others = sorted(item.name for item in out.iterdir() if item.name not in _OWN)
    if others:
        raise DgaugError(
            f"{out} also holds {others[0]!r} or files in it, which no export wrote; they are left alone, "
            "choose another --out"
        )


def finish_export(out: Path, spec: ExportSpec) -> None:
    """Say that the export is complete."""
    write_json(out / ABOUT, _about(spec, complete=True))


def _about(spec: ExportSpec, *, complete: bool) -> dict[str, object]:
    return {"export": _SCHEMA, **asdict(spec), "complete": complete}


def _clear(out: Path, about: dict[str, object]) -> None:
    # From here on the folder holds no whole export, whatever stops this.
    write_json(out / ABOUT, about | {"complete": False})
    images, size = about.get("pictures"), about.get("shard_size")
    tars = -(-images // size) if isinstance(images, int) and isinstance(size, int) and size > 0 else 0
    for folder in (out / IMAGES, out / (IMAGES + UNFINISHED)):
        if about.get("to") == "folders" and folder.is_dir():
            _remove_images(folder)
    for item in list(out.iterdir()):
        tar = _TAR.fullmatch(item.name)
        is_tar = about.get("to") == "webdataset" and tar is not None and int(tar[1]) < tars
        if is_tar or (about.get("to") != "webdataset" and _TABLE.fullmatch(item.name)):
            item.unlink()
    require_cleared(out)


def _remove_images(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if _IMAGE.fullmatch(entry.name):
                os.unlink(entry.path)
    if not any(folder.iterdir()):
        folder.rmdir()
