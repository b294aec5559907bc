"""What an export writes: a folder of JPEG files with Market-1501 names, tar shards, tables."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgaug.data.records import UNKNOWN_CAMERA
from dgaug.errors import DgaugError
from dgaug.files import csv_table, whole
from dgaug.store.export_folder import IDENTITIES, IMAGES, LABELS, UNFINISHED, ExportSpec, tar_name
from dgaug.store.export_rows import RowBatch, Rows, label_width, row_batches
from dgaug.store.index import file_size
from dgaug.store.labels import TopLabels
from dgaug.store.read import StoreDataset
from dgaug.store.sources import Sources

Done = Callable[[int], None]
"""Told after each batch how many images are done; may raise to stop."""
IDENTITY_OF = ("appearance", "structure", "new")
# Toolboxes keep identities as 32-bit integers.
_MOST_DIGITS = 9


@dataclass(frozen=True)
class MarketNames:
    """How images are named: `0002_c1s1_0000451_00.jpg` is image 451 of the store.

    The number of the image has at least seven digits, six in the names of Market-1501: generated images can be
    put beside real ones. The camera is that of the structure donor, whose viewpoint and background the image has.

    Attributes:
        numbers: the text of each class's identity, four digits or more.
        further: the text of the one identity that no source has.
        renumbered: whether the identities' own names are no different numbers and they were counted from 1.
        identity: whose identity: `appearance`, `structure`, or `new`: one further identity for all images.
        unknown_camera: the number for an unknown camera; None: the name has no camera field.
    """

    numbers: list[str]
    further: str
    renumbered: bool
    identity: str
    unknown_camera: int | None

    def name(self, image: int, *, appearance: int, structure: int, camera: int) -> str:
        """The file name of an image whose donors are of these classes; `camera` is the structure donor's."""
        number = self.further
        if self.identity != "new":
            number = self.numbers[appearance if self.identity == "appearance" else structure]
        seen_by = self.unknown_camera if camera == UNKNOWN_CAMERA else camera
        field = "" if seen_by is None else f"_c{seen_by}s1"
        return f"{number}{field}_{image:07d}_00.jpg"


def market_names(sources: Sources, *, identity: str, unknown_camera: int | None) -> MarketNames:
    """The naming of a store's images.

    Raises:
        DgaugError: unknown `identity`, or `unknown_camera` is the number of a real camera.
    """
    if identity not in IDENTITY_OF:
        raise DgaugError(f"expected --identity to be one of {', '.join(IDENTITY_OF)}, found {identity!r}")
    if unknown_camera is not None and unknown_camera in sources.camera:
        raise DgaugError(f"camera {unknown_camera} is a real one of these images; choose another --unknown-camera")
    names = sources.class_name
    plain = all(name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS for name in names)
    kept = plain and len({int(name) for name in names}) == len(names)
    numbers = [name.zfill(4) for name in names] if kept else [f"{number:04d}" for number in range(1, len(names) + 1)]
    further = f"{1 + max(map(int, numbers)):04d}"
    return MarketNames(numbers, further, not kept, identity, unknown_camera)


def write_folders(
    store: StoreDataset, out: Path, spec: ExportSpec, rows: Rows, *, names: MarketNames, done: Done
) -> None:
    """Write `bounding_box_train/`, `labels.csv` and `identities.csv`.

    The folder has another name until all is there; an image that has its name is whole, and is kept.
    """
    working = out / (IMAGES + UNFINISHED)
    if (out / IMAGES).is_dir() and not working.exists():
        (out / IMAGES).rename(working)
    working.mkdir(exist_ok=True)
    header = ["file", *_columns(label_width(store, spec.labels))]
    texts = [*store.sources.path, *store.sources.class_name]
    with csv_table(out / LABELS, header, texts) as write_row:
        written = 0
        for batch in row_batches(store, spec.labels, rows=rows, images=True):
            for row, described in enumerate(_described(batch)):
                name = _name(names, batch, row)
                _keep_or_write(working / name, batch, row)
                write_row([f"{IMAGES}/{name}", *described])
            written += len(batch)
            done(written)
    with csv_table(out / IDENTITIES, ["identity", "name"], texts) as write_row:
        for number, name in zip(names.numbers, store.sources.class_name, strict=True):
            write_row([number, name])
    # One call in place of one per image: on the medium before the folder has its name.
    os.sync()
    working.rename(out / IMAGES)


def write_tars(store: StoreDataset, out: Path, spec: ExportSpec, rows: Rows, *, done: Done) -> None:
    """Write `000000.tar`, ...: KEY.jpg and KEY.json for each image; a tar that is there is whole, and is kept."""
    for number in range(spec.tars):
        written = number * spec.shard_size
        here = rows[written : written + spec.shard_size]
        path = out / tar_name(number)
        if path.is_file():
            done(written + len(here))
            continue
        with whole(path) as aside, tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar:
            for batch in row_batches(store, spec.labels, rows=here, images=True):
                for row, described in enumerate(_documents(batch, spec.labels)):
                    add_sample(tar, int(batch.number[row]), batch.jpeg(row), described)
                written += len(batch)
                done(written)


def write_csv(store: StoreDataset, out: Path, spec: ExportSpec, rows: Rows, *, done: Done) -> None:
    """Write `labels.csv` alone: every pair with its donors and its label."""
    header = ["picture", *_columns(label_width(store, spec.labels))]
    with csv_table(out / LABELS, header, [*store.sources.path, *store.sources.class_name]) as write_row:
        written = 0
        for batch in row_batches(store, spec.labels, rows=rows, images=False):
            for number, described in zip(batch.number.tolist(), _described(batch), strict=True):
                write_row([number, *described])
            written += len(batch)
            done(written)


def _columns(width: int) -> list[str]:
    return ["appearance", "structure", "appearance_identity", "structure_identity", "camera", *label_columns(width)]


def label_columns(width: int) -> list[str]:
    """The columns of a label: its most probable classes, and the mass of all others."""
    return [*(f"{what}_{rank}" for rank in range(1, width + 1) for what in ("label", "probability")), "rest"]


def label_texts(labels: TopLabels, names: Sequence[str]) -> Iterator[list[str]]:
    """What stands in these columns; probabilities as the shortest text that gives the stored float16 again."""
    shares, rest = labels.probability.astype(str), labels.rest.astype(str)
    for row in range(len(rest)):
        ranked = zip(labels.classes[row].tolist(), shares[row].tolist(), strict=True)
        yield [*(text for number, share in ranked for text in (names[number], share)), str(rest[row])]


def _described(batch: RowBatch) -> Iterator[list[object]]:
    """The columns of each row."""
    sources = batch.store.sources
    donors = zip(batch.appearance.tolist(), batch.structure.tolist(), strict=True)
    for (i, j), label in zip(donors, label_texts(batch.labels, batch.class_names), strict=True):
        names = [sources.path[i], sources.path[j], sources.identity_name[i], sources.identity_name[j]]
        yield [*names, _camera(sources, j), *label]


def _documents(batch: RowBatch, policy: str) -> Iterator[dict[str, object]]:
    """The JSON object of each row."""
    shares, rest = batch.labels.probability.astype(str), batch.labels.rest.astype(str)
    for row, (i, j) in enumerate(zip(batch.appearance.tolist(), batch.structure.tolist(), strict=True)):
        yield {
            "appearance": _donor(batch.store.sources, i),
            "structure": _donor(batch.store.sources, j),
            "label": {
                "policy": policy,
                "class": batch.labels.classes[row].tolist(),
                "identity": [batch.class_names[number] for number in batch.labels.classes[row].tolist()],
                "probability": [float(share) for share in shares[row]],
                "rest": float(rest[row]),
            },
        }


def _donor(sources: Sources, row: int) -> dict[str, object]:
    return {
        "path": sources.path[row],
        "identity": sources.identity_name[row],
        "class": int(sources.identity[row]),
        "camera": _camera(sources, row),
    }


def _camera(sources: Sources, row: int) -> int | None:
    camera = int(sources.camera[row])
    return None if camera == UNKNOWN_CAMERA else camera


def _name(names: MarketNames, batch: RowBatch, row: int) -> str:
    sources, i, j = batch.store.sources, int(batch.appearance[row]), int(batch.structure[row])
    classes = int(sources.identity[i]), int(sources.identity[j])
    camera = int(sources.camera[j])
    return names.name(int(batch.number[row]), appearance=classes[0], structure=classes[1], camera=camera)


def _keep_or_write(path: Path, batch: RowBatch, row: int) -> None:
    size = file_size(path)
    # After a power cut a renamed file may be empty or short.
    if size and (batch.stored is None or size == len(batch.stored[row])):
        return
    with whole(path, synced=False) as aside:
        aside.write_bytes(batch.jpeg(row))


def add_sample(tar: tarfile.TarFile, key: int, image: bytes, described: Mapping[str, object]) -> None:
    """Add KEY.jpg, an image, and KEY.json, what it is."""
    for ending, data in (("jpg", image), ("json", json.dumps(described, ensure_ascii=False).encode())):
        # Time, owner and mode stay those of a fresh TarInfo: the same store gives the same bytes.
        entry = tarfile.TarInfo(f"{key:09d}.{ending}")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
