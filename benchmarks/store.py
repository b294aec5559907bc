"""How fast a store is written and read: images per second, against plain files and plain Pillow with the same bytes.

    python benchmarks/store.py

One process, one thread, images of 256 x 128 with as many JPEG bytes as the photographs of Market-1501 (8.8 KB).
Written is what a synthesis hands over, compressed already, with pairs and labels: as a store, beside one file for each
image and the rate of the disk. Read is in random order, beside Pillow decoding bytes that lie in memory; and the
codec `codes`, whose images are drawn by the published decoder when they are asked for. Contenders take turns and the
best round of each counts, because whatever else the machine does only slows a round down.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from machine import disk_rate, machine
from numpy.typing import NDArray
from PIL import Image

from dgaug.data.records import Record
from dgaug.memory import keep_freed_memory
from dgaug.models.checkpoints import TrainedGenerator, appearance_network
from dgaug.models.generator import Generator
from dgaug.settings import load_settings
from dgaug.store.assemble import finish_store
from dgaug.store.codecs import encode
from dgaug.store.codes import write_codes
from dgaug.store.index import begin_store
from dgaug.store.read import StoreDataset, open_store
from dgaug.store.schema import CODE_FOLDER, GENERATOR_FILE, code_path
from dgaug.store.shard_writer import ImageBatch, write_shard
from dgaug.store.sources import Sources
from dgaug.store.spec import Part, StoreSpec
from dgaug.store.virtual import write_decoder

SIZE = (256, 128)
SOURCES = 64
CLASSES = 751
PAIRS = SOURCES * SOURCES
ROUND, ROUNDS = 256, 24
FAST = ["model.weights=none", "model.backbone=small", "behaviour.arithmetic=fast"]
WRITING_ROUNDS = 5
MICRO_BATCH = 8
DRAWN, DRAWN_ROUNDS = 16, 4
QUALITY = 90
RESULTS = Path(__file__).parent / "results"

Rows = NDArray[np.int64]


def sources() -> Sources:
    """As many identities as Market-1501 has; the labels of a store are as wide as theirs."""
    table = Sources.of(Record(f"{row:04d}.jpg", f"{row:04d}", 1 + row % 6) for row in range(CLASSES))
    return table


def spec_of(codec: str, *, labels: str) -> StoreSpec:
    """The settings of a store with all pairs of the first sources."""
    return StoreSpec(
        parts=(Part(pairs=f"grid:{SOURCES}x{SOURCES}", planned=PAIRS, seed=0, shard_size=PAIRS),),
        image_size=SIZE,
        codec=codec,
        quality=QUALITY if codec == "jpeg" else 0,
        labels=labels,
        min_confidence=0.0,
        micro_batch=8,
        generator_sha256="0" * 64,
        teacher_sha256="0" * 64 if labels != "none" else "",
        dgaug_version=importlib.metadata.version("dgaug"),
    )


def images() -> list[bytes]:
    """JPEG files: soft shapes under a grain that makes them as large as photographs."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(PAIRS):
        shapes = Image.fromarray(random.integers(0, 256, (8, 4, 3), dtype=np.uint8)).resize(SIZE[::-1], Image.BICUBIC)
        grain = np.repeat(random.integers(-4, 4, (*SIZE, 1)), 3, axis=2)
        files.append(
            encode(np.clip(np.asarray(shapes) + grain, 0, 255).astype(np.uint8), codec="jpeg", quality=QUALITY)
        )
    return files


def pairs() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Appearance and structure of every pair."""
    k = np.arange(PAIRS, dtype=np.int32)
    return k // SOURCES, k % SOURCES


def batches(files: list[bytes]) -> list[ImageBatch]:
    """The images with pairs and labels, as a synthesis hands them over."""
    appearance, structure = pairs()
    labels = np.random.default_rng(1).dirichlet(np.full(CLASSES, 0.05), PAIRS).astype(np.float32)
    parts = [slice(start, start + MICRO_BATCH) for start in range(0, PAIRS, MICRO_BATCH)]
    return [ImageBatch(files[part], appearance[part], structure[part], labels[part]) for part in parts]


def write_jpegs(store: Path, finished: list[ImageBatch]) -> None:
    """A store of these images with top labels, on the disk when this returns."""
    table, spec = sources(), spec_of("jpeg", labels="top")
    begin_store(store, spec, table)
    write_shard(store, 0, finished, spec=spec, sources=table)
    finish_store(store)


def write_files(folder: Path, files: list[bytes]) -> None:
    """The images alone, a file for each; the last may not be on the disk when this returns."""
    folder.mkdir()
    for number, content in enumerate(files):
        (folder / f"{number}.jpg").write_bytes(content)


@torch.no_grad()
def write_virtual(store: Path) -> None:
    """A store of codes with the published decoder, untrained: it costs what a trained one costs."""
    table, spec = sources(), spec_of("codes", labels="none")
    settings = load_settings("dgnet-published", overrides=FAST)
    appearance = appearance_network(settings, CLASSES, weights="none")
    generator = Generator(SIZE, appearance.code_length).eval().requires_grad_(False)
    model = TrainedGenerator(generator, appearance, settings, None, 0, spec.generator_sha256)
    channels = generator.structure_encoder.channels
    random = np.random.default_rng(2)
    shapes = (SOURCES, channels, SIZE[0] // 4, SIZE[1] // 4), (SOURCES, 4, 2, 2, channels)
    codes = tuple(random.standard_normal(shape, np.float32).astype(np.float16) for shape in shapes)
    begin_store(store, spec, table)
    write_codes(
        code_path(store / CODE_FOLDER, 0),
        np.arange(SOURCES),
        [(codes[0], codes[1])],
        generator_sha256=spec.generator_sha256,
    )
    write_decoder(store / GENERATOR_FILE, model)
    write_shard(store, 0, [ImageBatch([], *pairs())], spec=spec, sources=table)
    finish_store(store)


def decode_plainly(files: list[bytes], rows: Rows) -> None:
    """What the reader is measured against."""
    for row in rows:
        with Image.open(io.BytesIO(files[row])) as image:
            np.array(image)


def read_items(store: StoreDataset, rows: Rows) -> None:
    """Images with parents and labels, one by one."""
    for row in rows:
        store[int(row)]


def rate(work: Callable[[Rows], object], rows: Rows) -> float:
    """Images per second."""
    began = time.perf_counter()
    work(rows)
    return len(rows) / (time.perf_counter() - began)


def written(folder: Path, files: list[bytes], finished: list[ImageBatch]) -> dict[str, float]:
    """Images per second of each way of writing, and bytes per second of the disk."""
    rates: dict[str, list[float]] = {"files": [], "written": []}
    for number in range(WRITING_ROUNDS):
        for name, write in {
            "files": partial(write_files, folder / f"files-{number}", files),
            "written": partial(write_jpegs, folder / f"store-{number}", finished),
        }.items():
            os.sync()  # or one pays for what the other left to write
            began = time.perf_counter()
            write()
            rates[name].append(PAIRS / (time.perf_counter() - began))
    return {name: max(values) for name, values in rates.items()} | {"disk": disk_rate(folder)}


def read(folder: Path, files: list[bytes]) -> dict[str, float]:
    """The best rate of each reader, images per second."""
    stored, virtual = open_store(folder / "jpeg", device="cpu"), open_store(folder / "codes", device="cpu")
    random = np.random.default_rng(3)
    contenders: dict[str, Callable[[Rows], object]] = {
        "pillow": lambda rows: decode_plainly(files, rows),
        "jpeg": lambda rows: read_items(stored, rows),
        "jpeg_batches": lambda rows: [stored.batch(rows[start : start + 32]) for start in range(0, len(rows), 32)],
    }
    rates: dict[str, list[float]] = {name: [] for name in [*contenders, "codes_batches"]}
    for _ in range(ROUNDS):
        for name, work in contenders.items():
            rates[name].append(rate(work, random.integers(PAIRS, size=ROUND)))
    for _ in range(DRAWN_ROUNDS):
        rates["codes_batches"].append(rate(virtual.batch, random.integers(PAIRS, size=DRAWN)))
    return {name: max(values) for name, values in rates.items()}


def measure(folder: Path) -> dict[str, float]:
    """All rates, and the bytes of an image."""
    files = images()
    finished = batches(files)
    result = written(folder, files, finished)
    write_jpegs(folder / "jpeg", finished)
    write_virtual(folder / "codes")
    return result | read(folder, files) | {"bytes": sum(map(len, files)) / len(files)}


def table(result: dict[str, float]) -> str:
    """The results as Markdown."""
    writers = {
        "files": "a file for each image, images alone, not waited for",
        "written": "store, codec jpeg: images, pairs, top labels, checksums, on the disk",
    }
    readers = {
        "pillow": "plain Pillow, bytes in memory, image only",
        "jpeg": "store, codec jpeg, `store[k]`: image, parents, top labels, crc32",
        "jpeg_batches": "store, codec jpeg, `store.batch(32 rows)`: tensors, dense labels over 751 classes",
        "codes_batches": f"store, codec codes, `store.batch({DRAWN} rows)`: drawn by the published decoder",
    }
    size = f"{SIZE[0]} x {SIZE[1]}, {result['bytes'] / 1000:.1f} KB of JPEG each"
    lines = [
        "# Writing and reading a store",
        "",
        f"{machine('pillow', 'h5py')}. {PAIRS:,} images of {size}; read in random order. The disk takes "
        f"{result['disk'] / 1e6:,.0f} MB/s of one large file.",
        "",
        "| writer | images/s | of files | MB/s of images | of the disk |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, text in writers.items():
        stream = result[name] * result["bytes"]
        lines.append(
            f"| {text} | {result[name]:,.0f} | {result[name] / result['files']:.2f} | {stream / 1e6:,.0f} "
            f"| {stream / result['disk']:.0%} |"
        )
    lines += ["", "| reader | images/s | of Pillow | µs more per image |", "|---|---:|---:|---:|"]
    plain = result["pillow"]
    for name, text in readers.items():
        more = 1e6 / result[name] - 1e6 / plain
        lines.append(f"| {text} | {result[name]:,.0f} | {result[name] / plain:.2f} | {more:,.0f} |")
    return "\n".join([*lines, ""])


@click.command()
@click.option("--out", default=RESULTS, type=click.Path(path_type=Path), help="Folder of the results.")
def main(out: Path) -> None:
    """Measure and write `store-cpu.md` and `.json`."""
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    text = table(result)
    out.mkdir(parents=True, exist_ok=True)
    (out / "store-cpu.md").write_text(text, encoding="utf-8")
    record = {"machine": machine("pillow", "h5py")} | result
    (out / "store-cpu.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
