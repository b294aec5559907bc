"""The settings of a store: the root attributes of `dataset.h5`, which decide every byte of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, NamedTuple

import h5py
import numpy as np

from dgaug.errors import DgaugError
from dgaug.store.safe_hdf5 import own
from dgaug.store.schema import CODECS, LABELS, MAX_SHARDS, PRECISIONS, TOP, Column, label_classes

# Of the shards that a store may still have, how many a design takes unless asked: some are left for pairs added later.
SHARE_OF_SHARDS = 0.9
_MULTIPLE = 64
# Settings that stores of version 1.0 do not name, and what they were made with.
_SINCE_1_1 = {"precision": "fp32"}
_PART_NUMBERS = ("planned", "seed", "shard_size")
DESIGN_SETTINGS = {"pairs", *_PART_NUMBERS}
"""The root attributes in which only the parts differ."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One pair design of a store, in shards of its own; a store that was added to has several.

    Attributes:
        pairs: the design as text (`all`, `random:1000`).
        planned: number of its pairs; those that an earlier part has too are left out.
        seed: the seed of the design.
        shard_size: pairs of the design per shard.
    """

    pairs: str
    planned: int
    seed: int
    shard_size: int

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise DgaugError(f"expected at least one pair per shard, found {self.shard_size}")

    @property
    def shard_count(self) -> int:
        """Number of its shards."""
        return -(-self.planned // self.shard_size)


class ShardPlace(NamedTuple):
    """What a shard covers: the pairs [start, stop) of the design of a part."""

    part: int
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """The settings that decide every byte of a store; they are the root attributes of `dataset.h5`.

    Attributes:
        parts: the pair designs, in the order in which they were asked for; at least one.
        image_size: (height, width) of every image.
        codec: `jpeg`, `png`, `raw`, or `codes`: no images but what each is decoded from on demand.
        quality: JPEG quality, 1 to 100; 0 for the other codecs.
        labels: `none`, `top` (the ten most probable classes and the mass left over) or `dense`.
        min_confidence: pairs whose most probable class stays below it were left out; 0 keeps all.
        micro_batch: images decoded and labelled at a time, padded.
        generator_sha256, teacher_sha256: the weights; "" without a teacher.
        dgaug_version: the version that wrote the store.
        precision: `fp32`, `bf16` (decoder) or `bf16-labels` (decoder and teacher); codes are always made in fp32.
    """

    parts: tuple[Part, ...]
    image_size: tuple[int, int]
    codec: str
    quality: int
    labels: str
    min_confidence: float
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
        if self.micro_batch < 1:
            raise DgaugError(f"expected at least one image at a time, found a micro-batch of {self.micro_batch}")
        if self.shard_count > MAX_SHARDS:
            taken = self.shard_count - self.parts[-1].shard_count
            least = -(-self.parts[-1].planned // max(1, MAX_SHARDS - taken))
            raise DgaugError(
                f"expected at most {MAX_SHARDS} shards, found {self.parts[-1].planned} pairs at "
                f"{self.parts[-1].shard_size} per shard"
                + (f" beside {taken} shards that are there" if taken else "")
                + (f"; use --shard-size {least} or more" if taken < MAX_SHARDS else "; choose another --out")
            )

    @property
    def encoded(self) -> bool:
        """Whether images are kept as byte strings, each of its own length."""
        return self.codec in ("jpeg", "png")

    @property
    def virtual(self) -> bool:
        """Whether codes are kept in place of images."""
        return self.codec == "codes"

    @property
    def pairs(self) -> str:
        """The designs as text; those that were added follow a plus."""
        return " + ".join(part.pairs for part in self.parts)

    @property
    def planned(self) -> int:
        """Pairs of all designs; fewer images where some were too unsure, or in two designs."""
        return sum(part.planned for part in self.parts)

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return sum(part.shard_count for part in self.parts)

    def place(self, number: int) -> ShardPlace:
        """What a shard covers."""
        first = number
        for index, part in enumerate(self.parts):
            if first < part.shard_count:
                start = first * part.shard_size
                return ShardPlace(index, start, min(start + part.shard_size, part.planned))
            first -= part.shard_count
        raise IndexError(f"shard {number} of a store of {self.shard_count}")

    def pairs_in(self, numbers: Iterable[int]) -> int:
        """Pairs of the designs that some shards cover; numbers that the store does not have count for nothing."""
        places = [self.place(number) for number in numbers if number < self.shard_count]
        return sum(place.stop - place.start for place in places)

    def extends(self, existing: StoreSpec) -> bool:
        """Whether this is the other one, or the other one with parts added."""
        return self.parts[: len(existing.parts)] == existing.parts and replace(existing, parts=self.parts) == self

    def attributes(self) -> dict[str, Any]:
        """The settings as the root attributes show them: seed and shard size are those of the first part."""
        first = self.parts[0]
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "parts"}
        design = {"pairs": self.pairs, "planned": self.planned, "seed": first.seed, "shard_size": first.shard_size}
        return design | values

    def digested(self, part: int) -> dict[str, Any]:
        """The settings as they enter the digest of a part's shards, to which a part that is added later is nothing.

        That of a job which version 1.0 could do is as it was.
        """
        alone = replace(self, parts=(self.parts[part],)).attributes()
        before = [[earlier.pairs, earlier.planned, earlier.seed] for earlier in self.parts[:part]]
        known = alone | ({"after": before} if before else {})
        return {name: value for name, value in known.items() if _SINCE_1_1.get(name) != value}

    def write(self, hdf5: h5py.File) -> None:
        """Write the settings as root attributes, and the parts of a store that was added to as `part/*`."""
        for name, value in self.attributes().items():
            hdf5.attrs[name] = np.array(value, np.int32) if name == "image_size" else value
        if len(self.parts) > 1:
            rows = [asdict(part) for part in self.parts]
            hdf5.create_dataset("part/pairs", data=[row["pairs"] for row in rows], dtype=h5py.string_dtype())
            for name in _PART_NUMBERS:
                hdf5.create_dataset(f"part/{name}", data=np.array([row[name] for row in rows], np.int64))

    @classmethod
    def read(cls, hdf5: h5py.File) -> StoreSpec:
        """The settings in the root attributes and in `part/*`; KeyError where one is missing."""
        known = {name: value.item() if isinstance(value, np.generic) else value for name, value in hdf5.attrs.items()}
        known = _SINCE_1_1 | known
        values: dict[str, Any] = {field.name: known[field.name] for field in fields(cls) if field.name != "parts"}
        values["image_size"] = tuple(int(side) for side in values["image_size"])
        return cls(parts=_parts(hdf5, known), **values)


def _parts(hdf5: h5py.File, known: dict[str, Any]) -> tuple[Part, ...]:
    if "part" not in hdf5:
        return (Part(**{name: known[name] for name in ("pairs", *_PART_NUMBERS)}),)
    columns = [own(hdf5, "part/pairs").asstr()[:].tolist(), *(own(hdf5, f"part/{name}")[:] for name in _PART_NUMBERS)]
    return tuple(
        Part(pairs=pairs, **{name: int(value) for name, value in zip(_PART_NUMBERS, numbers, strict=True)})
        for pairs, *numbers in zip(*columns, strict=True)
    )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DgaugError(f"expected {name} to be one of {', '.join(known)}, found '{value}'")


def default_shard_size(planned: int, *, taken: int = 0) -> int:
    """Pairs per shard: at least 4096, no more shards than there is room for, a multiple of every micro-batch of a CPU.

    `taken` are the shards that the store has already.
    """
    room = max(1, int((MAX_SHARDS - taken) * SHARE_OF_SHARDS))
    return -(-max(4096, -(-planned // room)) // _MULTIPLE) * _MULTIPLE


def columns(spec: StoreSpec, class_count: int) -> dict[str, Column]:
    """The data sets of a shard with one row per image; `encoded` ones have `image/bytes` and `image/offset` too."""
    own = {} if spec.virtual else {"image/crc32": Column((), np.dtype(np.uint32))}
    own["pair/appearance"] = Column((), np.dtype(np.int32))
    own["pair/structure"] = Column((), np.dtype(np.int32))
    if spec.codec == "raw":
        own["image/pixels"] = Column((*spec.image_size, 3), np.dtype(np.uint8))
    if spec.labels == "dense":
        own["label/dense"] = Column((class_count,), np.dtype(np.float16))
    if spec.labels == "top":
        kept = min(TOP, class_count)
        own["label/class"] = Column((kept,), label_classes(class_count))
        own["label/probability"] = Column((kept,), np.dtype(np.float16))
        own["label/rest"] = Column((), np.dtype(np.float16))
    return own
