"""What the files of a store are called, and what may be in them (schema 1)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SCHEMA = 1
# Major is the schema; minor counts additions that an older reader may pass over.
VERSION = "1.3"
DATASET_FILE = "dataset.h5"
SHARD_FOLDER = "shards"
SHARD_NAME = re.compile(r"shards/\d{6}\.h5")
MAX_SHARDS = 1000
CODE_FOLDER = "codes"
GENERATOR_FILE = "generator.safetensors"
# Beside shards, what a store of codes is made of.
FILE_NAME = re.compile(r"codes/\d{6}\.h5|generator\.safetensors")
CODE_COLUMNS = ("code/structure", "code/adain")
CODECS = ("jpeg", "png", "raw", "codes")
LABELS = ("none", "top", "dense")
PRECISIONS = ("fp32", "bf16", "bf16-labels")
TOP = 10
LABEL_TOLERANCE = 2e-3


def shard_path(store: Path, number: int) -> Path:
    """The file of a shard."""
    return store / SHARD_FOLDER / f"{number:06d}.h5"


def code_path(folder: Path, number: int) -> Path:
    """The file of some sources' codes, in the folder of codes."""
    return folder / f"{number:06d}.h5"


def label_classes(class_count: int) -> np.dtype[np.uint16] | np.dtype[np.uint32]:
    """The type of `label/class`: uint16, and uint32 above 65,535 classes."""
    return np.dtype(np.uint16) if class_count <= 65_535 else np.dtype(np.uint32)


class Column(NamedTuple):
    """One number or array per image: what follows the image axis, and the type."""

    tail: tuple[int, ...]
    dtype: np.dtype[Any]
