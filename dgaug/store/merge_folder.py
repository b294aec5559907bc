"""The folder of a merged export: written under another name, and renamed when all of it is there."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dgaug.errors import DgaugError
from dgaug.files import read_json, write_json
from dgaug.outputs import already_complete, require_only
from dgaug.store.export_folder import ABOUT, UNFINISHED, require_cleared, require_recorded
from dgaug.store.merge_tables import INDEX, TABLES, tables_of

_SCHEMA = "merged-1"
_LOCK = ".lock"
_TAR = re.compile(r"(train|query|gallery|multi_query|val)-\d{5}\.tar")


@dataclass(frozen=True, kw_only=True)
class MergeSpec:
    """The settings that decide every file of a merged export.

    Attributes:
        tool: whose format it has.
        labels, select, min_confidence, ratio, seed, unknown_camera, license, shard_size: as `export_merged` takes them;
            the last is 0 where there are no tars.
        images: how many.
        store, data: hex sha256 of the store's content, and of the real images' names, sizes and places.
    """

    tool: str
    labels: str
    select: str
    min_confidence: float
    ratio: float
    seed: int
    unknown_camera: int | None
    license: str
    shard_size: int
    images: int
    store: str
    data: str


def working_folder(out: Path) -> Path:
    """What the export is called until it is whole, beside `out`."""
    return out.with_name(out.name + UNFINISHED)


def require_place(out: Path, data: Path | None, store: Path) -> None:
    """Refuse an output folder that is in use, or inside the data or the store; creates nothing.

    Raises:
        DgaugError: says which.
    """
    if not out.name or out.name == "..":
        raise DgaugError(f"expected the name of a folder for --out, found {str(out)!r}")
    place = Path(os.path.realpath(out))
    for what, folder in (("data", data.parent if data and data.is_file() else data), ("store", store)):
        if folder is not None and place.is_relative_to(os.path.realpath(folder)):
            raise DgaugError(f"the output folder {out} lies inside the {what} {folder}; choose another --out")
    for folder in (out, working_folder(out)):
        if folder.is_symlink():
            raise DgaugError(f"{folder} is a link; --out names the folder to create")
        about = folder / ABOUT
        if not about.is_file() or read_json(about).get("export") != _SCHEMA:
            require_only(folder, (), of="such an export", hidden=True)


def begin(out: Path, spec: MergeSpec, images: Sequence[str], *, force: bool) -> bool:
    """Make the working folder ready, or resume what is in it; True where `out` is complete with all files of `images`.

    Raises:
        DgaugError: the export there has other settings, or `force` would have to remove files of somebody else.
    """
    working = working_folder(out)
    for folder in (out, working):
        if not (folder / ABOUT).is_file():
            continue
        recorded = read_json(folder / ABOUT)
        if force:
            _clear(folder)
            continue
        require_recorded(folder, recorded, asdict(spec))
    if (out / ABOUT).is_file():
        if all((out / name).is_file() for name in (*tables_of(spec.tool), *images)):
            already_complete(out)
            return True
        # It lost a file: made whole again like one that was stopped.
        for item in list(out.iterdir()):
            if item.name != _LOCK:
                item.rename(working / item.name)
    write_json(working / ABOUT, _about(spec, complete=False))
    return False


def leave(working: Path) -> None:
    """Remove the working folder where it holds nothing but the lock."""
    if [item.name for item in working.iterdir()] == [_LOCK]:
        (working / _LOCK).unlink()
        working.rmdir()


def finish(out: Path, spec: MergeSpec) -> None:
    """Say that the export is complete, and give it its name."""
    working = working_folder(out)
    write_json(working / ABOUT, _about(spec, complete=True))
    # One call in place of one per image: on the medium before the folder has its name.
    os.sync()
    if out.is_dir():
        (out / _LOCK).unlink(missing_ok=True)
        out.rmdir()
    working.rename(out)


def _about(spec: MergeSpec, *, complete: bool) -> dict[str, object]:
    return {"export": _SCHEMA, **asdict(spec), "complete": complete}


def _clear(folder: Path) -> None:
    """Remove what an export wrote, by its own table, and nothing else."""
    recorded = read_json(folder / ABOUT)
    # From here on the folder holds no whole export, whatever stops this.
    write_json(folder / ABOUT, recorded | {"complete": False})
    tool = str(recorded.get("tool"))
    tables = tables_of(tool)
    images = [*_listed(folder / INDEX), *_listed(folder / TABLES["csv"])] if tables else []
    if tool == "huggingface":
        images = [
            path.relative_to(folder).as_posix() for path in folder.glob("data/*.tar") if _TAR.fullmatch(path.name)
        ]
    for name in (*images, *tables):
        path = folder / name
        path.unlink(missing_ok=True)
        for ending in (UNFINISHED, UNFINISHED + path.suffix):
            path.with_name(f".{path.name}{ending}").unlink(missing_ok=True)
    for parent, _, _ in os.walk(folder, topdown=False):
        if parent != str(folder) and not os.listdir(parent):
            os.rmdir(parent)
    require_cleared(folder)
    (folder / ABOUT).unlink()


def _listed(table: Path) -> list[str]:
    """The images that a table names, those alone that lie inside its folder."""
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as stream:
        names = [row.get("path") or "" for row in csv.DictReader(stream)]
    return [name for name in names if name and not name.startswith("/") and ".." not in name.split("/")]
