"""Data sets as other tools write them down: CSV tables of Open Metric Learning and wildlife-datasets, boxmot's YAML."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dgaug.data.manifest import (
    MANIFEST_NAME,
    ManifestPaths,
    Row,
    Table,
    header_of,
    image_and_identity,
    read_manifest,
    read_table,
)
from dgaug.data.market import MARKET_FOLDERS, read_flat
from dgaug.data.names import split_named
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.errors import DgaugError
from dgaug.plain_yaml import read_yaml

OML_COLUMNS = ("label", "path", "split", "is_query", "is_gallery")
WILDLIFE_COLUMNS = ("image_id", "identity", "path")
OML_NAME, WILDLIFE_NAME = "df.csv", "metadata.csv"
NOBODY = "unknown"
"""The identity of an individual that nobody identified, in wildlife-datasets."""
YAML_ENDINGS = (".yaml", ".yml")
_YAML_SPLITS = ("train", "query", "gallery", "val")
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


def read_boxmot(path: Path) -> IdentityData:
    """Read the folders that a YAML names: `path`, relative to it, and in there `train`, `query` and `gallery`.

    Folders that it does not name have Market-1501's names. File names follow Market-1501's rule. Its `download`, a
    program, is never run.

    Raises:
        DgaugError: no such YAML, or a folder that is not there.
    """
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DgaugError(f"{path}: no YAML in UTF-8 ({error})") from error
    if not isinstance(content, dict) or not {"path", *_YAML_SPLITS} & content.keys():
        raise DgaugError(
            f"{path}: expected path, train, query and gallery of a data set for boxmot, found another YAML"
        )
    root = path.parent / _text(content.get("path", "."), f"{path}: path")
    if not os.path.isdir(root):
        script = "; its download script is not run here" if content.get("download") else ""
        raise DgaugError(f"{path}: path is {str(root)!r}, which is no folder{script}; unpack the data set there")
    folders = {split: _folder(root, content[split], f"{path}: {split}") for split in _YAML_SPLITS if content.get(split)}
    usual = {split: name for split, name in MARKET_FOLDERS.items() if (root / name).is_dir()}
    data = read_flat(root, folders if "train" in folders or "gallery" in folders else usual | folders)
    return replace(data, layout="boxmot-yaml", manifest=path)


def _folder(root: Path, value: object, where: str) -> str:
    name = _text(value, where)
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DgaugError(f"{where} is {name!r}, which leaves the folder of the data set; give a folder inside it")
    if not os.path.isdir(root / name):
        raise DgaugError(f"{where} is {name!r}, but there is no such folder in {root}")
    return Path(name).as_posix()


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise DgaugError(f"{where} is {value!r}; expected the name of a folder")
    return value.strip()
