"""The CSV manifest: any data set, written down picture by picture."""

from __future__ import annotations

import csv
import difflib
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import TextIO

from dgaug.data.names import SPLITS, camera_number, split_named
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.errors import DgaugError
from dgaug.files import csv_writer

MANIFEST_NAME = "manifest.csv"
COLUMNS = ("path", "identity", "camera", "split", "role")


def read_manifest_folder(root: Path) -> IdentityData | None:
    """Read `manifest.csv` of a folder; None where there is none."""
    path = root / MANIFEST_NAME
    return read_manifest(path) if path.is_file() else None


def read_manifest(path: Path) -> IdentityData:
    """Read a manifest: a CSV file in UTF-8 with the columns path and identity, optional camera, split and role.

    Paths are relative to the manifest's folder and stay inside it. An empty camera is unknown, an empty split is
    train, an empty role is identity. Columns of other names are left alone.

    Raises:
        DgaugError: with the line number, for whatever cannot be read.
    """
    splits: dict[str, list[Record]] = {}
    seen: set[tuple[str, str]] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, split, record in _rows(file, path):
                if (split, record.path) in seen:
                    raise DgaugError(f"{path}, line {line}: {record.path!r} is already in the split {split}")
                if not (path.parent / record.path).is_file():
                    raise DgaugError(f"{path}, line {line}: there is no file {record.path!r} in {path.parent}")
                seen.add((split, record.path))
                splits.setdefault(split, []).append(record)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DgaugError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    in_order = {split: sorted(splits[split], key=lambda record: record.path) for split in SPLITS if split in splits}
    return IdentityData(path.parent, "manifest", in_order, manifest=path)


def pack(data: IdentityData, out_csv: str | Path, *, force: bool = False) -> None:
    """Write a data set as a manifest; `open_data(out_csv)` gives the same records again.

    Paths are written relative to the manifest's folder, so it must be the data set's folder or one above it. The
    file is written aside and renamed.

    Raises:
        DgaugError: the file exists and `force` is not given, or the pictures do not lie below its folder.
    """
    out = Path(out_csv)
    if out.suffix.lower() != ".csv":
        raise DgaugError(f"{out}: a manifest's name ends in .csv")
    if out.exists() and not force:
        raise DgaugError(f"{out}: exists already; take another name or --force")
    try:
        # Not resolved: a linked data folder is still reached through its link.
        below = Path(os.path.abspath(data.root)).relative_to(os.path.abspath(out.parent))
    except ValueError as error:
        raise DgaugError(
            f"{out}: the pictures in {data.root} do not lie below the manifest's folder; write it to "
            f"{data.root / MANIFEST_NAME}"
        ) from error
    aside = out.with_name(out.name + ".part")
    try:
        with aside.open("w", encoding="utf-8", newline="") as file:
            _write(data, below.as_posix(), file)
            file.flush()
            os.fsync(file.fileno())
        _require_readable(aside, data, below.as_posix())
        aside.replace(out)
    except OSError as error:
        raise DgaugError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        aside.unlink(missing_ok=True)


def _require_readable(manifest: Path, data: IdentityData, prefix: str) -> None:
    """DgaugError where a name comes out of the manifest as another, as one with a space at its end does."""
    with manifest.open(encoding="utf-8", newline="") as file:
        for (_, _, read), record in zip(_rows(file, manifest), _records(data), strict=True):
            if (read.path, read.identity) != (_joined(prefix, record), record.identity):
                raise DgaugError(
                    f"{data.root}: {record.path!r} of {record.identity!r} would read otherwise in a manifest; rename it"
                )


def _write(data: IdentityData, prefix: str, file: TextIO) -> None:
    write_row = csv_writer(file, (name for record in _records(data) for name in (record.path, record.identity)))
    write_row(COLUMNS)
    for split, records in data.splits.items():
        for record in records:
            camera = "" if record.camera == UNKNOWN_CAMERA else record.camera
            write_row((_joined(prefix, record), record.identity, camera, split, record.role.value))


def _records(data: IdentityData) -> Iterator[Record]:
    return (record for records in data.splits.values() for record in records)


def _joined(prefix: str, record: Record) -> str:
    return posixpath.normpath(posixpath.join(prefix, record.path))


def _rows(file: TextIO, path: Path) -> Iterator[tuple[int, str, Record]]:
    reader = csv.DictReader(file, skipinitialspace=True, restval="")
    columns = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    _check_columns(columns, path)
    for row in reader:
        line = reader.line_num
        if row.get(None) is not None:  # where csv puts what is more than the columns
            raise DgaugError(f"{path}, line {line}: more fields than columns; quote what holds a comma")
        yield line, *_record(row, f"{path}, line {line}")


def _check_columns(columns: list[str], path: Path) -> None:
    missing = [column for column in COLUMNS[:2] if column not in columns]
    if missing:
        found = ", ".join(columns) or "an empty file"
        raise DgaugError(f"{path}, line 1: no column {missing[0]!r}; expected {','.join(COLUMNS[:4])}, found {found}")
    for column in columns:
        near = difflib.get_close_matches(column.lower(), COLUMNS, n=1, cutoff=0.8)
        if column not in COLUMNS and near:
            raise DgaugError(f"{path}, line 1: unknown column {column!r}; did you mean {near[0]!r}?")
    twice = [column for column in COLUMNS if columns.count(column) > 1]
    if twice:
        raise DgaugError(f"{path}, line 1: the column {twice[0]!r} is there twice")


def _record(row: dict[str, str], where: str) -> tuple[str, Record]:
    picture, identity = row["path"].strip(), row["identity"].strip()
    if not picture or not identity:
        raise DgaugError(f"{where}: a picture needs a path and an identity, found {picture!r} and {identity!r}")
    normal = posixpath.normpath(picture)
    if posixpath.isabs(picture) or PureWindowsPath(picture).drive or normal.split("/")[0] == "..":
        raise DgaugError(f"{where}: {picture!r} leaves the manifest's folder; give paths relative to it")
    camera = camera_number(row.get("camera", ""))
    if camera is None:
        raise DgaugError(f"{where}: the camera {row['camera']!r} is not a number; leave it empty where it is unknown")
    split = split_named(row.get("split", ""))
    if split is None:
        raise DgaugError(f"{where}: unknown split {row['split']!r}; known are {', '.join(SPLITS)}")
    role = row.get("role", "").strip() or Role.IDENTITY.value
    if role not in {known.value for known in Role}:
        raise DgaugError(f"{where}: unknown role {role!r}; known are {', '.join(known.value for known in Role)}")
    return split, Record(normal, identity, camera, Role(role))
