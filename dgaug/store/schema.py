"""What a store is made of: its names, its settings and its columns (schema 1)."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from dgaug.errors import DgaugError

SCHEMA = 1
# Major is the schema; minor counts additions that an older reader may pass over.
VERSION = "1.1"
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
PRECISIONS = ("fp32", "bf16")
# Settings that stores of version 1.0 do not name, and what they were made with.
_SINCE_1_1 = {"precision": "fp32"}
TOP = 10
LABEL_TOLERANCE = 2e-3


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """The settings that decide every byte of a store; they are the root attributes of `dataset.h5`.

    Attributes:
        pairs: the pair design as text (`all`, `random:1000`).
        planned: number of pairs of the design; `count` in the file is smaller where `min_confidence` left some out.
        seed: the seed of the design.
        image_size: (height, width) of every picture.
        codec: `jpeg`, `png`, `raw`, or `codes`: no pictures but what each is decoded from on demand.
        quality: JPEG quality, 1 to 100; 0 for the other codecs.
        labels: `none`, `top` (the ten most probable classes and the mass left over) or `dense`.
        min_confidence: pairs whose most probable class stays below it were left out; 0 keeps all.
        shard_size: pairs of the design per shard.
        micro_batch: pictures decoded and labelled at a time, padded.
        generator_sha256, teacher_sha256: the weights; "" without a teacher.
        dgaug_version: the version that wrote the store.
        precision: what pictures are decoded in, `fp32` or `bf16`; codes and labels are always computed in fp32.
    """

    pairs: str
    planned: int
    seed: int
    image_size: tuple[int, int]
    codec: str
    quality: int
    labels: str
    min_confidence: float
    shard_size: int
    micro_batch: int
    generator_sha256: str
    teacher_sha256: str
    dgaug_version: str
    precision: str = "fp32"

    def __post_init__(self) -> None:
        _one_of("codec", self.codec, CODECS)
        _one_of("labels", self.labels, LABELS)
        _one_of("precision", self.precision, PRECISIONS)
        if self.codec == "jpeg" and not 1 <= self.quality <= 100:
            raise DgaugError(f"expected a JPEG quality from 1 to 100, found {self.quality}")
        if self.shard_size < 1 or self.shard_count > MAX_SHARDS:
            least = -(-self.planned // MAX_SHARDS)
            raise DgaugError(
                f"expected at most {MAX_SHARDS} shards, found {self.planned} pairs at {self.shard_size} per shard; "
                f"use --shard-size {least} or more"
            )

    @property
    def encoded(self) -> bool:
        """Whether pictures are kept as byte strings, each of its own length."""
        return self.codec in ("jpeg", "png")

    @property
    def virtual(self) -> bool:
        """Whether codes are kept in place of pictures."""
        return self.codec == "codes"

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return -(-self.planned // max(1, self.shard_size))

    def shard_range(self, number: int) -> tuple[int, int]:
        """The pairs [start, stop) of the design that a shard covers."""
        start = number * self.shard_size
        return start, min(start + self.shard_size, self.planned)

    def differences(self, existing: StoreSpec) -> list[str]:
        """One line for each setting in which this job differs from the store that is there; empty when none does."""
        return [
            f"{field.name}: {getattr(existing, field.name)} in the store, {getattr(self, field.name)} asked for"
            for field in fields(self)
            if getattr(existing, field.name) != getattr(self, field.name)
        ]

    def digested(self) -> dict[str, Any]:
        """The settings as they enter the digest of a shard: that of a job which 1.0 could do is as it was."""
        return {name: value for name, value in asdict(self).items() if _SINCE_1_1.get(name) != value}

    def write(self, hdf5: h5py.File) -> None:
        """Write the settings as root attributes."""
        for name, value in asdict(self).items():
            hdf5.attrs[name] = np.array(value, np.int32) if name == "image_size" else value

    @classmethod
    def read(cls, hdf5: h5py.File) -> StoreSpec:
        """The settings in the root attributes; KeyError where one is missing."""
        known = _SINCE_1_1 | dict(hdf5.attrs)
        values: dict[str, Any] = {field.name: known[field.name] for field in fields(cls)}
        values["image_size"] = tuple(int(side) for side in values["image_size"])
        plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        return cls(**plain)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DgaugError(f"expected {name} to be one of {', '.join(known)}, found '{value}'")


def default_shard_size(planned: int, micro_batch: int, *, listed: bool = False) -> int:
    """Pairs per shard: at least 4096, at most 1,000 shards, a whole number of micro-batches.

    Where pairs are only `listed` (no pictures, no labels) a shard costs nothing to make again, and few are better.
    """
    least = max(1 << 20 if listed else 4096, -(-planned // MAX_SHARDS))
    return -(-least // micro_batch) * micro_batch


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
    """One number or array per picture: what follows the picture axis, and the type."""

    tail: tuple[int, ...]
    dtype: np.dtype[Any]


def columns(spec: StoreSpec, class_count: int) -> dict[str, Column]:
    """The data sets of a shard with one row per picture; `encoded` ones have `image/bytes` and `image/offset` too."""
    found = {} if spec.virtual else {"image/crc32": Column((), np.dtype(np.uint32))}
    found["pair/appearance"] = Column((), np.dtype(np.int32))
    found["pair/structure"] = Column((), np.dtype(np.int32))
    if spec.codec == "raw":
        found["image/pixels"] = Column((*spec.image_size, 3), np.dtype(np.uint8))
    if spec.labels == "dense":
        found["label/dense"] = Column((class_count,), np.dtype(np.float16))
    if spec.labels == "top":
        kept = min(TOP, class_count)
        found["label/class"] = Column((kept,), label_classes(class_count))
        found["label/probability"] = Column((kept,), np.dtype(np.float16))
        found["label/rest"] = Column((), np.dtype(np.float16))
    return found
