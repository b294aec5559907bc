"""The CSV manifest: any data set, written down image by image."""

from __future__ import annotations

import csv
import difflib
import os
import posixpath
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO
from unicodedata import normalize

from dgaug.data.names import SPLITS, camera_numbers, split_named
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.errors import DgaugError
from dgaug.files import csv_writer, whole
from dgaug.outputs import require_free

MANIFEST_NAME = "manifest.csv"
COLUMNS = ("path", "identity", "camera", "split", "role")
Row = dict[str, str]
_DELIMITERS = ",;\t"
_LONGEST_HEADER = 1 << 16


@dataclass(frozen=True)
class Table:
    """A form of CSV tables.

    Attributes:
        layout: its name.
        needed: columns that it must have.
        columns: all that it knows, in any case; others are left alone.
        record: the split and the record of a row, without its camera, and where they come from for errors; None for a
            row that is no image of the data set.
        near: whether a column of almost a known name is an error.
    """

    layout: str
    needed: Sequence[str]
    columns: Sequence[str]
    record: Callable[[Row, str, ManifestPaths], tuple[str, Record] | None]
    near: bool = True


def read_manifest(path: Path) -> IdentityData:
    """Read a manifest: a CSV file in UTF-8 with the columns path and identity, optional camera, split and role.

    Paths are relative to the manifest's folder and stay inside it; `ManifestPaths` says which ways to write them are
    understood. An empty camera is unknown, an empty split is train, an empty role is identity. Columns of other names
    are left alone; commas, semicolons or tabs separate them.

    Raises:
        DgaugError: with the line number, for whatever cannot be read.
    """
    return read_table(path, MANIFEST)


def read_table(path: Path, table: Table) -> IdentityData:
    """Read a table of some form; DgaugError, with the line number, for whatever cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(file, path, table))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DgaugError(f"{path}: not a CSV file in UTF-8 ({error}); save it as UTF-8") from error
    seen: set[tuple[str, str]] = set()
    for line, split, record, _ in rows:
        if (split, record.path) in seen:
            raise DgaugError(
                f"{path}, line {line}: {record.path!r} is already in the split {split}; name each image once"
            )
        seen.add((split, record.path))
    try:
        numbers, note = camera_numbers([camera for *_, camera in rows])
    except ValueError as error:
        line = next(line for line, *_, camera in rows if camera == str(error))
        raise DgaugError(
            f"{path}, line {line}: the camera {str(error)!r} is not a number from 0 on; leave it empty where it is "
            "unknown"
        ) from None
    splits: dict[str, list[Record]] = {}
    for _, split, record, camera in rows:
        splits.setdefault(split, []).append(replace(record, camera=numbers[camera]))
    in_order = {split: sorted(splits[split], key=lambda record: record.path) for split in SPLITS if split in splits}
    return IdentityData(path.parent, table.layout, in_order, manifest=path, notes=(note,) if note else ())


def header_of(path: Path) -> set[str]:
    """The columns of a CSV file, in lower case; none where it is no text in UTF-8."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(_LONGEST_HEADER)
    except (OSError, UnicodeDecodeError):
        return set()
    return max((_columns(line, delimiter) for delimiter in _DELIMITERS), key=len)


def pack(data: IdentityData, out_csv: str | Path, *, force: bool = False) -> None:
    """Write a data set as a manifest; `open_data(out_csv)` gives the same records again.

    Paths are written relative to the manifest's folder, so it must be the data set's folder or one above it. The
    file is written aside and renamed.

    Raises:
        DgaugError: the file exists and `force` is not given, or the images do not lie below its folder.
    """
    out = Path(out_csv)
    if out.suffix.lower() != ".csv":
        raise DgaugError(f"{out}: a manifest's name ends in .csv")
    require_free(out, force=force)
    try:
        # Not resolved: a linked data folder is still reached through its link.
        below = Path(os.path.abspath(data.root)).relative_to(os.path.abspath(out.parent))
    except ValueError as error:
        raise DgaugError(
            f"{out}: the images in {data.root} do not lie below the manifest's folder; write it to "
            f"{data.root / MANIFEST_NAME}"
        ) from error
    try:
        with whole(out) as aside:
            with aside.open("w", encoding="utf-8", newline="") as file:
                _write(data, below.as_posix(), file)
            _require_readable(aside, data, below.as_posix())
    except OSError as error:
        raise DgaugError(f"{out}: cannot be written ({error.strerror})") from error


def _require_readable(manifest: Path, data: IdentityData, prefix: str) -> None:
    """DgaugError where a name comes out of the manifest as another, as one with a space at its end does."""
    with manifest.open(encoding="utf-8", newline="") as file:
        for (_, _, read, _), record in zip(_rows(file, manifest, MANIFEST), _records(data), strict=True):
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


def _rows(file: TextIO, path: Path, table: Table) -> Iterator[tuple[int, str, Record, str]]:
    """Line, split, record without its camera, and the camera's text of each row."""
    header = file.readline()
    delimiter = next((one for one in _DELIMITERS if set(table.needed) <= _columns(header, one)), ",")
    reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True, restval="")
    file.seek(0)
    columns = [column.strip() for column in reader.fieldnames or ()]
    columns = [column.lower() if column.lower() in table.columns else column for column in columns]
    reader.fieldnames = columns
    _check_columns(columns, path, table)
    paths = ManifestPaths(path.parent)
    for row in reader:
        line = reader.line_num
        if row.get(None) is not None:  # where csv puts what is more than the columns
            raise DgaugError(f"{path}, line {line}: more fields than columns; quote what holds a comma")
        read = table.record(row, f"{path}, line {line}", paths)
        if read is not None:
            yield line, *read, row.get("camera", "")


def _columns(header: str, delimiter: str) -> set[str]:
    return {column.strip(' "\r\n').lower() for column in header.split(delimiter)}


def _check_columns(columns: list[str], path: Path, table: Table) -> None:
    missing = [column for column in table.needed if column not in columns]
    if missing:
        header, expected = ", ".join(columns) or "an empty file", ",".join(table.columns[:4])
        raise DgaugError(f"{path}, line 1: no column {missing[0]!r}; expected the header {expected}, found {header}")
    for column in columns:
        near = difflib.get_close_matches(column.lower(), table.columns, n=1, cutoff=0.8) if table.near else []
        if column not in table.columns and near:
            raise DgaugError(f"{path}, line 1: unknown column {column!r}; did you mean {near[0]!r}?")
    twice = [column for column in table.columns if columns.count(column) > 1]
    if twice:
        raise DgaugError(f"{path}, line 1: the column {twice[0]!r} is there twice")


def _record(row: dict[str, str], where: str, paths: ManifestPaths) -> tuple[str, Record]:
    path, identity = image_and_identity(row, "identity", where, paths)
    split = split_named(row.get("split", ""))
    if split is None:
        raise DgaugError(f"{where}: unknown split {row['split']!r}; known are {', '.join(SPLITS)}")
    role = row.get("role", "").strip() or Role.IDENTITY.value
    if role not in {known.value for known in Role}:
        raise DgaugError(f"{where}: unknown role {role!r}; known are {', '.join(known.value for known in Role)}")
    return split, Record(path, identity, UNKNOWN_CAMERA, Role(role))


def image_and_identity(row: Row, column: str, where: str, paths: ManifestPaths) -> tuple[str, str]:
    """The file of a row and the identity in a column of it; DgaugError where one is missing."""
    image, identity = row["path"].strip(), row[column].strip()
    if not image or not identity:
        raise DgaugError(f"{where}: an image needs a path and an identity, found {image!r} and {identity!r}")
    path = paths.resolve(image)
    if path is None:
        raise DgaugError(f"{where}: {_no_file(image, paths)}")
    return path, identity


def _no_file(image: str, paths: ManifestPaths) -> str:
    if paths.leaves(image):
        return f"{image!r} leaves the manifest's folder; give paths relative to it"
    alike = paths.endings_of(image)
    hint = f"; did you mean {alike[0]!r}?" if alike else "; paths are relative to the manifest's folder"
    return f"there is no file {image!r}{hint}"


class ManifestPaths:
    """Resolves paths as people write them to files below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bases = {os.path.abspath(folder), os.path.realpath(folder)}
        self._names: dict[str, dict[str, list[str]]] = {}

    def resolve(self, text: str) -> str | None:
        """The POSIX path of the file that a text means, relative to the folder; None where there is no such file.

        As it is written; with backslashes as separators; absolute, if it lies inside; with each name in NFC or NFD.
        """
        if "\0" in text:
            return None
        for written in dict.fromkeys((text, text.replace("\\", "/"))):
            path = self._relative(written)
            if path is not None and os.path.isfile(self._folder / path):
                return path
            if path is not None and (path := self._in_other_form(path)) is not None:
                return path
        return None

    def leaves(self, text: str) -> bool:
        """Whether a text, however read, names something outside the folder."""
        return self._relative(text) is None or self._relative(text.replace("\\", "/")) is None or text[1:2] == ":"

    def endings_of(self, text: str) -> list[str]:
        """Files that are called like a text and an ending, such as `a.JPG` for `a`."""
        path = self._relative(text)
        if path is None:
            return []
        folder, _, name = path.rpartition("/")
        candidates = [one for names in self._listed(folder).values() for one in names if one.rpartition(".")[0] == name]
        return sorted(posixpath.join(folder, one) for one in candidates)

    def _relative(self, text: str) -> str | None:
        if posixpath.isabs(text):
            inside = (os.path.relpath(text, base) for base in self._bases)
            text = next((path for path in inside if path.split("/")[0] != ".."), "..")
        normal = posixpath.normpath(text)
        return None if normal.split("/")[0] == ".." else normal

    def _in_other_form(self, path: str) -> str | None:
        candidates = ""
        for name in path.split("/"):
            alike = self._listed(candidates).get(normalize("NFC", name), [])
            if len(alike) != 1:
                return None
            candidates = posixpath.join(candidates, alike[0])
        return candidates if os.path.isfile(self._folder / candidates) else None

    def _listed(self, folder: str) -> dict[str, list[str]]:
        """Names in a folder by their NFC form."""
        if folder not in self._names:
            names = self._names[folder] = {}
            try:
                for name in sorted(os.listdir(self._folder / folder)):
                    names.setdefault(normalize("NFC", name), []).append(name)
            except (OSError, ValueError):  # a zero byte is no OSError
                return names
        return self._names[folder]


MANIFEST = Table("manifest", COLUMNS[:2], COLUMNS, _record)
"""The form of dgaug's own."""
