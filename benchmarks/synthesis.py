"""The N x N data set by `dgaug synthesize` against the published way restated: images per second and memory.

    python benchmarks/synthesis.py
    python benchmarks/synthesis.py --device cuda --pairs 1024

Published networks with random weights at 256 x 128, JPEG files in and out. The published way reads and encodes both
donors for every pair, alone; dgaug makes a whole store through `dgaug.synthesize`, plan and codes included. Each
contender runs in a process of its own; its time leaves out what comes before: imports and the reading of weights.
Before anything is timed, both decoders are compared on the same codes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from machine import machine, peak_bytes, synchronize
from PIL import Image
from restated import Restated, encode
from torch import Tensor, nn
from training_iteration import RESULTS

from dgaug.cuda_math import exact_products
from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import denormalise, normalise
from dgaug.memory import keep_freed_memory
from dgaug.models import checkpoints
from dgaug.models.architectures import teacher_architecture
from dgaug.models.reid import ReidNetwork
from dgaug.settings import load_settings
from dgaug.store import codecs
from dgaug.store.micro_batch import default_micro_batch
from dgaug.synthesis.encoding import encode_images
from dgaug.synthesis.job import JPEG_QUALITY, synthesize
from dgaug.synthesis.tasks import load_networks
from dgaug.synthesis.threads import side_by_side
from dgaug.training.networks import Networks, build_networks

SIZE = (256, 128)
SOURCES, IDENTITIES = 64, 16
TOLERANCE = 1e-3
"""Largest relative difference of decoded values, ||x - y|| / ||y||."""
LEVEL = 1.0
"""Largest mean difference of bf16 images from fp32 ones, in grey levels."""
CONTENDERS = {
    "published": "published way, fp32: both donors encoded for every pair",
    "fp32": "dgaug, fp32",
    "bf16": "dgaug, `--precision bf16`",
    "labels": "dgaug, fp32, with soft labels (not in the published way)",
    "labels-bf16": "dgaug, `--precision bf16-labels`, with soft labels",
}
PRECISIONS = {"bf16": "bf16", "labels-bf16": "bf16-labels"}
SAMPLED = {"published": 16, "labels": 4, "labels-bf16": 4}
"""These take as many times fewer pairs: their cost is the pairs' alone."""
PARTS = {"decoder": "decoding", "encoders": "encoding donors", "teacher": "labels"}


def write_inputs(folder: Path, sources: int = SOURCES) -> None:
    """Source images `data/train/IDENTITY/NUMBER.jpg`, and the checkpoints of generator and teacher."""
    random = np.random.default_rng(0)
    for row in range(sources):
        shapes = Image.fromarray(random.integers(0, 256, (8, 4, 3), dtype=np.uint8)).resize(SIZE[::-1], Image.BICUBIC)
        path = folder / "data" / "train" / f"{row % IDENTITIES:04d}" / f"{row:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shapes.save(path, "JPEG", quality=JPEG_QUALITY)
    networks, settings = seeded_networks(folder / "data")
    states = {"averaged": networks.generator.state_dict(), "appearance": networks.appearance.state_dict()}
    head = {"format": checkpoints.DGNET, "version": checkpoints.VERSION, "iteration": 0, "class_names": IDENTITIES}
    checkpoints.save(folder / "generator.pt", head | {"settings": settings.model_dump(mode="json"), "networks": states})
    teacher, architecture = networks.teacher, teacher_architecture(settings, IDENTITIES) | {"weights": "none"}
    assert isinstance(teacher, ReidNetwork)
    checkpoints.save(folder / "teacher.pt", checkpoints.reid_content(teacher, architecture, None, SIZE))


@torch.no_grad()
def seeded_networks(data: Path) -> tuple[Networks, Any]:
    """Published networks with random weights, whose images have about the contrast of real ones."""
    overrides = ["model.weights=none", "behaviour.arithmetic=fast", f"data.height={SIZE[0]}", f"data.width={SIZE[1]}"]
    settings = load_settings("dgnet-published", overrides=overrides)
    torch.manual_seed(0)
    networks = build_networks(settings, IDENTITIES)
    networks.teacher = ReidNetwork(**teacher_architecture(settings, IDENTITIES) | {"weights": "none"})
    for network in networks.present():
        network.eval()
        for name, parameter in network.named_parameters():
            if name.endswith("bn3.weight"):  # or activations of a random ResNet-50 grow with every block
                nn.init.constant_(parameter, 0.1)
    images = read(sorted(data.rglob("*.jpg"))[:2], torch.device("cpu"))
    drawn = networks.generator(networks.generator.structure(images), networks.appearance(images).appearance)
    colour = networks.generator.decoder.colour.conv
    colour.weight.div_(drawn.std())
    assert colour.bias is not None
    colour.bias.sub_(drawn.mean() / drawn.std())
    return networks, settings


def read(paths: list[Path], device: torch.device) -> Tensor:
    """Normalised images [B, 3, H, W] of files."""
    pixels = np.stack([to_pixels(open_image(path), SIZE) for path in paths])
    return normalise(torch.from_numpy(pixels).to(device))


def plain_networks(folder: Path, device: torch.device) -> Restated:
    """The networks in their plain form, in eval mode."""
    networks, _ = seeded_networks(folder / "data")
    plain = Restated(networks.to(device), erasing=0)
    for network in (plain.generator, plain.appearance):
        network.eval()
    return plain


@exact_products()
@torch.no_grad()
def differences(folder: Path, device: torch.device) -> dict[str, float]:
    """How far dgaug's decoded values are from the restated ones (relative), and bf16 images from fp32 (levels)."""
    plain = plain_networks(folder, device)
    model = load_networks(folder / "generator.pt", None).generator
    paths = sorted((folder / "data").rglob("*.jpg"))[:4]
    images, worn = read(paths, device), read(paths[::-1], device)
    expected = plain.decode(encode(plain.encoder, images), plain.appearance(worn).appearance)
    structure, _ = encode_images(model, denormalise(images))
    _, adain = encode_images(model, denormalise(worn))
    result = model.generator.decoder(structure, adain)
    with torch.autocast(device.type, torch.bfloat16):
        half = model.generator.decoder(structure.bfloat16(), adain)
    levels = (denormalise(half).float() - denormalise(result).float()).abs().mean()
    return {"values": float((result - expected).norm() / expected.norm()), "levels": float(levels)}


@torch.no_grad()
def published(folder: Path, pairs: int, device: torch.device) -> dict[str, float]:
    """Seconds of the published way for some pairs: everything anew for each, one JPEG file each."""
    plain = plain_networks(folder, device)
    paths = sorted((folder / "data").rglob("*.jpg"))
    chosen = np.random.default_rng(0).integers(len(paths), size=(pairs, 2))
    out = folder / "out"
    out.mkdir()
    began = time.perf_counter()
    for number, (appearance, structure) in enumerate(chosen):
        code = encode(plain.encoder, read([paths[structure]], device))
        worn = plain.appearance(read([paths[appearance]], device)).appearance
        image = denormalise(plain.decode(code, worn))[0].cpu().numpy()
        (out / f"{number}.jpg").write_bytes(codecs.encode(image, codec="jpeg", quality=JPEG_QUALITY))
    return {"seconds": time.perf_counter() - began}


class Stopwatch:
    """Adds up the time that networks spend in their forward passes, `at_once` of which run side by side."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._device = device
        self._at_once = side_by_side(device, torch.get_num_threads())
        self._lock = threading.Lock()

    def watch(self, part: str, network: nn.Module) -> None:
        """Add this network's time to a part."""
        network.register_forward_pre_hook(lambda *_: self._add(part, -self._now()))
        network.register_forward_hook(lambda *_: self._add(part, self._now()))

    def _add(self, part: str, seconds: float) -> None:
        with self._lock:
            self.seconds[part] += seconds / self._at_once

    def _now(self) -> float:
        synchronize(self._device)
        return time.perf_counter()


def ours(contender: str, folder: Path, pairs: int, device: torch.device) -> dict[str, float]:
    """Seconds of `dgaug.synthesize` for a whole store, and of its parts."""
    checkpoint, teacher = folder / "generator.pt", folder / "teacher.pt" if contender.startswith("labels") else None
    networks = load_networks(checkpoint, teacher)  # which `synthesize` then finds read
    watch = Stopwatch(device)
    watch.watch("decoder", networks.generator.generator.decoder)
    watch.watch("encoders", networks.generator.generator.structure_encoder)
    watch.watch("encoders", networks.generator.appearance)
    if networks.teacher is not None:
        watch.watch("teacher", networks.teacher.network)
    began = time.perf_counter()
    synthesize(
        checkpoint=checkpoint,
        data=folder / "data",
        teacher=teacher or "none",
        pairs=f"random:{pairs}",
        precision=PRECISIONS.get(contender, "fp32"),
        out=folder / "store",
        progress=lambda *_: None,
    )
    return {"seconds": time.perf_counter() - began} | watch.seconds


def measure(contender: str, pairs: int, device: torch.device) -> dict[str, Any]:
    """A contender's seconds, images and peak memory, in this process."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_inputs(folder)
        if contender == "published":
            seconds = published(folder, pairs, device)
        else:
            keep_freed_memory()  # as the command does
            seconds = ours(contender, folder, pairs, device)
    return {"pictures": pairs, "peak_bytes": peak_bytes(device)} | seconds


def table(result: dict[str, dict[str, Any]]) -> str:
    """The results as a Markdown table; ratios are to the first row."""
    first = next(iter(result.values()))
    rate = first["pictures"] / first["seconds"]
    rows = [
        "| way | images | images/s | times faster | decoder | donors' encoders | teacher | all else | peak, GB |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for contender, run in result.items():
        each = run["pictures"] / run["seconds"]
        parts = [run.get(part) for part in PARTS]
        known = [part for part in parts if part is not None]
        shares = [*parts, run["seconds"] - sum(known) if known else None]
        cells = " | ".join("" if part is None else f"{part / run['seconds']:.1%}" for part in shares)
        rows.append(
            f"| {CONTENDERS[contender]} | {run['pictures']:,} | {each:.3g} | {each / rate:.2f} | {cells} "
            f"| {run['peak_bytes'] / 1e9:.2f} |"
        )
    return "\n".join(rows)


def write_results(out: Path, result: dict[str, dict[str, Any]], apart: dict[str, float], device: torch.device) -> str:
    """Write `synthesis-DEVICE.md` and `.json`; returns the text."""
    where = (
        f"{machine(device=device)}. {SIZE[0]} x {SIZE[1]}, {SOURCES} sources, design `random:K`, "
        f"JPEG quality {JPEG_QUALITY}, batches of {default_micro_batch(device, SIZE)}. "
        "Shares are of the wall time of `dgaug.synthesize`: decoder, encoders "
        "and teacher are their forward passes (those of threads side by side count as one), all else is planning, "
        "reading, rounding, compressing and writing. "
        "One run each; dgaug's processes keep freed memory, as its command does. "
        f"Decoded values are {apart['values']:.1e} (relative) from the published ones, bf16 images on average "
        f"{apart['levels']:.2f} grey levels from fp32."
    )
    text = f"# Synthesis\n\n{where}\n\n{table(result)}\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"synthesis-{device.type}.md").write_text(text, encoding="utf-8")
    record = {"machine": machine(device=device), "size": SIZE, "sources": SOURCES, "apart": apart, "runs": result}
    (out / f"synthesis-{device.type}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return text


def checked(device: torch.device) -> dict[str, float]:
    """The differences; an error where they are too large for a comparison of speed."""
    with tempfile.TemporaryDirectory() as place:
        write_inputs(Path(place))
        apart = differences(Path(place), device)
    if not (apart["values"] <= TOLERANCE and apart["levels"] < LEVEL):
        raise click.ClickException(f"the ways compute different images: {apart}")
    return apart


@click.command(context_settings={"show_default": True})
@click.option("--pairs", type=click.IntRange(8, SOURCES**2), default=SOURCES**2, help="Images; default: N x N.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--contenders", default=",".join(CONTENDERS), help="Which, in the order of the table.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the .md and .json files.")
@click.option("--one", hidden=True, type=click.Choice(list(CONTENDERS)), help="Measure this one here, as JSON.")
def main(pairs: int, device: str, contenders: str, out: Path, one: str | None) -> None:
    """Time the making of a store against the published way of making images."""
    place = torch.device(device)
    if one is not None:
        click.echo(json.dumps(measure(one, pairs // SAMPLED.get(one, 1), place)))
        return
    apart, result = checked(place), {}
    for contender in contenders.split(","):
        command = [sys.executable, __file__, "--one", contender, "--pairs", str(pairs), "--device", device]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        result[contender] = json.loads(done.stdout)
        click.echo(f"{contender}: {result[contender]['seconds']:.1f} s", err=True)
    click.echo(write_results(out, result, apart, place))


if __name__ == "__main__":
    main()
