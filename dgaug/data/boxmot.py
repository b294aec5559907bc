"""The YAML by which boxmot is told of a re-id data set."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from dgaug.data.market import MARKET_FOLDERS, read_flat
from dgaug.data.records import IdentityData
from dgaug.errors import DgaugError
from dgaug.plain_yaml import read_yaml

ENDINGS = (".yaml", ".yml")
_SPLITS = ("train", "query", "gallery", "val")


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
    if not isinstance(content, dict) or not {"path", *_SPLITS} & content.keys():
        raise DgaugError(
            f"{path}: expected path, train, query and gallery of a data set for boxmot, found another YAML"
        )
    root = path.parent / _text(content.get("path", "."), f"{path}: path")
    if not os.path.isdir(root):
        script = "; its download script is not run here" if content.get("download") else ""
        raise DgaugError(f"{path}: path is {str(root)!r}, which is no folder{script}; unpack the data set there")
    folders = {split: _folder(root, content[split], f"{path}: {split}") for split in _SPLITS if content.get(split)}
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
