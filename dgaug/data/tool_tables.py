"""CSV tables of other tools: Open Metric Learning, and wildlife-datasets with wildlife-tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dgaug.data.manifest import MANIFEST_NAME, Row, Table, header_of, image_and_identity, read_manifest, read_table
from dgaug.data.manifest_paths import ManifestPaths
from dgaug.data.names import split_named
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.errors import DgaugError

OML_COLUMNS = ("label", "path", "split", "is_query", "is_gallery")
WILDLIFE_COLUMNS = ("image_id", "identity", "path")
OML_NAME, WILDLIFE_NAME = "df.csv", "metadata.csv"
NOBODY = "unknown"
"""The identity of an individual that nobody identified, in wildlife-datasets."""
_BOXES = ("x_1", "x_2", "y_1", "y_2", "bbox", "segmentation")
_EMPTY = {"", "nan", "none", "<na>"}
_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def read_any_table(path: Path) -> IdentityData:
    """Read a CSV table by its columns: a manifest, or a table of a tool.

    Raises:
        DgaugError: with the line number, for whatever cannot be read.
    """
    header = header_of(path)
    if set(OML_COLUMNS) <= header:
        return _oml(path)
    # A role is what a manifest alone has.
    if set(WILDLIFE_COLUMNS) <= header and "role" not in header:
        return read_table(path, WILDLIFE)
    return read_manifest(path)


def read_table_folder(root: Path) -> IdentityData | None:
    """Read `manifest.csv`, `df.csv` or `metadata.csv` of a folder; None where none has the columns of its form."""
    if (root / MANIFEST_NAME).is_file():
        return read_any_table(root / MANIFEST_NAME)
    for name, needed in ((OML_NAME, OML_COLUMNS), (WILDLIFE_NAME, WILDLIFE_COLUMNS)):
        if (root / name).is_file() and set(needed) <= header_of(root / name):
            return read_any_table(root / name)
    return None


def _oml(path: Path) -> IdentityData:
    data = read_table(path, OML)
    both = len(data.splits.get("val", ()))
    if not both:
        return data
    note = (
        f"{both:,} validation images are query and gallery at once (one against the rest), which dgaug does not rank: "
        "read as the split val"
    )
    return replace(data, notes=(*data.notes, note))


def _oml_record(row: Row, where: str, paths: ManifestPaths) -> tuple[str, Record]:
    path, label = image_and_identity(row, "label", where, paths)
    _require_whole_image(row, where)
    try:
        number = float(label)
    except ValueError:
        number = 0.5
    if not number.is_integer():
        raise DgaugError(f"{where}: expected an integer label, found {label!r}")
    return _oml_split(row, where), Record(path, str(int(number)), UNKNOWN_CAMERA)


def _oml_split(row: Row, where: str) -> str:
    split = row["split"].strip().lower()
    if split not in ("train", "validation"):
        raise DgaugError(f"{where}: unknown split {row['split']!r}; known are train and validation")
    query, gallery = (_truth(row[name], f"{where}: {name}") for name in OML_COLUMNS[3:])
    if split == "train":
        return "train"
    if not query and not gallery:
        raise DgaugError(f"{where}: a validation image is query or gallery, found neither is_query nor is_gallery true")
    return "val" if query and gallery else "query" if query else "gallery"


def _truth(text: str, where: str) -> bool:
    value = text.strip().lower()
    if value in _EMPTY:
        return False
    if value not in _TRUTH:
        raise DgaugError(f"{where} is {text!r}; expected True, False or nothing")
    return _TRUTH[value]


def _wildlife_record(row: Row, where: str, paths: ManifestPaths) -> tuple[str, Record]:
    path, identity = image_and_identity(row, "identity", where, paths)
    _require_whole_image(row, where)
    text = row.get("split", "")
    split = split_named("" if text.strip().lower() in _EMPTY else text)
    if split is None:
        raise DgaugError(f"{where}: unknown split {text!r}; known are train, query, test and val")
    return split, Record(path, identity, UNKNOWN_CAMERA, Role.JUNK if identity == NOBODY else Role.IDENTITY)


def _require_whole_image(row: Mapping[str, str], where: str) -> None:
    boxed = next((name for name in _BOXES if row.get(name, "").strip().lower() not in _EMPTY), None)
    if boxed is not None:
        raise DgaugError(
            f"{where}: {boxed} asks for a part of the image, dgaug reads whole ones; crop the images first"
        )


OML = Table("oml-csv", OML_COLUMNS, (*OML_COLUMNS, *_BOXES, "camera"), _oml_record, near=False)
WILDLIFE = Table(
    "wildlife-csv", WILDLIFE_COLUMNS, (*WILDLIFE_COLUMNS, *_BOXES, "split", "camera"), _wildlife_record, near=False
)
