"""One training iteration of dgaug against the published one restated: seconds, memory, and that both do the same work.

    python benchmarks/training_iteration.py
    python benchmarks/training_iteration.py --device cuda --iterations 10

Full size, every loss on, random images and weights, both branches of the structure-code term in turn. Each contender
runs in a process of its own; the median follows one warm-up iteration of each branch. Before anything is timed, all
terms of both forms are compared at a small size, for the same weights and batch.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from machine import machine, peak_bytes, product_rate, synchronize
from operations import watched
from restated import Restated
from torch import nn

from dgaug.cuda_math import exact_products, training_math
from dgaug.distributed import Processes
from dgaug.memory import keep_freed_memory
from dgaug.models.reid import ReidNetwork
from dgaug.settings import Settings, load_settings
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import Batch
from dgaug.training.networks import Networks, build_networks

CLASSES = 751
AFTER_RAMPS = 50_000
CHECK_SIZE, CHECK_BATCH, TOLERANCE = (64, 32), 4, 1e-4
SMALL = 1e-5
"""Smaller terms are compared with this: the penalty of these discriminators is 6e-8, which cuDNN rounds by 0.3 %."""
RESULTS = Path(__file__).parent / "results"
CONTENDERS: dict[str, tuple[str, list[str]]] = {
    "restated": ("published form, fp32", []),
    "fp32": ("dgaug, the same work, fp32", ["behaviour.arithmetic=fast"]),
    "bf16": ("dgaug, the same work, bf16", ["behaviour.arithmetic=fast", "behaviour.precision=bf16"]),
    "defaults": ("dgaug's defaults, bf16", ["behaviour.precision=bf16"]),
    "compiled": ("dgaug's defaults, bf16, compiled", ["behaviour.precision=bf16", "behaviour.compile=true"]),
}
USUAL = ",".join(name for name in CONTENDERS if name != "compiled")
"""All but the one that needs a compiler."""

Step = Callable[[Batch, bool], dict[str, float]]


def settings_of(contender: str, size: tuple[int, int], batch: int, *more: str) -> Settings:
    """Settings of a contender; dgaug's defaults are another preset, all others the published one."""
    shape = [f"data.height={size[0]}", f"data.width={size[1]}", f"schedule.batch_size={batch}"]
    preset = None if contender in ("defaults", "compiled") else "dgnet-published"
    return load_settings(preset, overrides=["model.weights=none", *CONTENDERS[contender][1], *shape, *more])


def make_networks(settings: Settings, *, teacher_dropout: float) -> Networks:
    """Random networks whose heads tell images apart, so that no term is trivially the same.

    Their residual branches are quiet: a random ResNet-50 at full strength makes five hundred of every rounding error.
    """
    torch.manual_seed(settings.seed)
    networks = build_networks(settings, CLASSES)
    networks.teacher = ReidNetwork("resnet50", CLASSES, dropouts=(teacher_dropout,), pool="avg")
    for head in (*networks.appearance.heads, *networks.teacher.heads):
        nn.init.normal_(head.classify.weight, std=0.05)
    for reid in (networks.appearance, networks.teacher):
        for name, parameter in reid.named_parameters():
            if name.endswith("bn3.weight"):
                nn.init.constant_(parameter, 0.1)
    return networks


def make_batch(size: tuple[int, int], batch: int, device: torch.device) -> Batch:
    """Random images, positives and labels of both sides."""
    random = torch.Generator().manual_seed(1)
    images, positives = torch.randn(2, 2 * batch, 3, *size, generator=random).to(device)
    return Batch(images, positives, torch.randint(CLASSES, (2 * batch,), generator=random).to(device))


def make_step(contender: str, networks: Networks, settings: Settings, device: torch.device) -> Step:
    """The iteration of a contender: from a batch and the branch to its terms."""
    networks.to(device)
    if contender == "restated":
        plain = Restated(networks, erasing=settings.loss.erasing)
        return lambda batch, encoder_learns: plain.step(batch, encoder_learns=encoder_learns)
    model = DGNet(networks, settings, Processes(device))

    def step(batch: Batch, encoder_learns: bool) -> dict[str, float]:
        loss = settings.loss.model_copy(update={"structure_branch": float(encoder_learns)})
        model.settings = settings.model_copy(update={"loss": loss})
        return model.step([batch], AFTER_RAMPS)

    return step


@exact_products()
def differing_terms(device: torch.device) -> list[str]:
    """Terms in which the restated iteration and dgaug's are further apart than the tolerance, each with both values."""
    still = ["model.prim_dropout=0", "model.fine_dropout=0", "loss.erasing=0"]
    batch = make_batch(CHECK_SIZE, CHECK_BATCH, device)
    apart: list[str] = []
    for encoder_learns in (True, False):
        settings = settings_of("fp32", CHECK_SIZE, CHECK_BATCH, *still)
        plain, ours = (
            make_step(contender, make_networks(settings, teacher_dropout=0), settings, device)(batch, encoder_learns)
            for contender in ("restated", "fp32")
        )
        apart += [
            f"{name}: {plain.get(name)} restated, {ours.get(name)} dgaug"
            for name in sorted(plain.keys() | ours.keys())
            if name not in plain
            or name not in ours
            or abs(plain[name] - ours[name]) > TOLERANCE * max(SMALL, abs(plain[name]))
        ]
    return apart


def measure(contender: str, size: tuple[int, int], batch: int, iterations: int, device: torch.device) -> dict[str, Any]:
    """Median seconds of an iteration and peak memory, in this process."""
    settings = settings_of(contender, size, batch)
    if contender != "restated":
        keep_freed_memory()  # as the command does
    # With TF32 where the settings have it: the published form too computes as dgaug's row of the same work.
    with training_math(settings.behaviour, device):
        return _measured(contender, settings, size, batch, iterations, device)


def _measured(
    contender: str, settings: Settings, size: tuple[int, int], batch: int, iterations: int, device: torch.device
) -> dict[str, Any]:
    step = make_step(contender, make_networks(settings, teacher_dropout=0.5), settings, device)
    images, seconds = make_batch(size, batch, device), []
    flops = [watched(partial(step, images, learns), device)["flop"] for learns in (True, False)]
    if settings.behaviour.compile:  # which does not happen where operations are watched
        for learns in (True, False, True, False):
            step(images, learns)
    for index in range(2 * iterations):
        started = time.perf_counter()
        step(images, index % 2 == 0)
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    live, frozen = (statistics.median(seconds[first::2]) for first in (0, 1))
    half = device.type == "cuda" or settings.behaviour.precision == "bf16"
    return {
        "seconds": (live + frozen) / 2,
        "encoder_learns": live,
        "encoder_frozen": frozen,
        "peak_bytes": peak_bytes(device),
        "flop": statistics.mean(flops),
        "ceiling": product_rate(device, torch.bfloat16 if half else torch.float32),
    }


def table(result: dict[str, dict[str, Any]], batch: int) -> str:
    """The results as a Markdown table; ratios are to the first row."""
    first = next(iter(result.values()))
    rows = [
        "| iteration | s | times faster | images/s | peak memory, GB | times less | TFLOP | of the fastest product |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for contender, run in result.items():
        rows.append(
            f"| {CONTENDERS[contender][0]} | {run['seconds']:.3g} | {first['seconds'] / run['seconds']:.2f} "
            f"| {2 * batch / run['seconds']:.3g} | {run['peak_bytes'] / 1e9:.2f} "
            f"| {first['peak_bytes'] / run['peak_bytes']:.2f} | {run['flop'] / 1e12:.2f} "
            f"| {run['flop'] / run['seconds'] / run['ceiling']:.0%} |"
        )
    return "\n".join(rows)


@click.command(context_settings={"show_default": True})
@click.option("--size", type=int, nargs=2, default=(256, 128), help="Height and width of the images.")
@click.option("--batch", type=click.IntRange(2), default=8, help="Images of a side; an iteration sees two sides.")
@click.option("--iterations", type=click.IntRange(1), default=3, help="Timed iterations of each branch.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option(
    "--contenders",
    default=USUAL,
    help="Which, in the order of the table.",
)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the .md and .json files.")
@click.option("--name", default="training_iteration", help="Of the files.")
@click.option("--one", hidden=True, type=click.Choice(list(CONTENDERS)), help="Measure this one here, as JSON.")
def main(
    size: tuple[int, int],
    batch: int,
    iterations: int,
    device: str,
    contenders: str,
    out: Path,
    name: str,
    one: str | None,
) -> None:
    """Time one training iteration of dgaug against the published one restated."""
    place = torch.device(device)
    if one is not None:
        click.echo(json.dumps(measure(one, size, batch, iterations, place)))
        return
    apart = differing_terms(place)
    if apart:
        raise click.ClickException("the two iterations compute different terms: " + "; ".join(apart))
    result = {}
    for contender in contenders.split(","):
        shape = ["--size", *map(str, size), "--batch", str(batch), "--iterations", str(iterations)]
        command = [sys.executable, __file__, "--one", contender, "--device", device, *shape]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        result[contender] = json.loads(done.stdout)
        click.echo(f"{contender}: {result[contender]['seconds']:.2f} s", err=True)
    ceilings = ", ".join(f"{rate / 1e9:,.0f}" for rate in sorted({run["ceiling"] for run in result.values()}))
    where = (
        f"{machine(device=place)}; {size[0]} x {size[1]}, batch {batch} + {batch}, median of {iterations} per branch. "
        "TFLOP are those of its products and convolutions; the last column is their rate beside that of the fastest "
        "dense product found in the same process "
        f"({'in bf16' if device == 'cuda' else 'in the same precision'}: {ceilings} GFLOP/s)."
    )
    text = f"{table(result, batch)}\n\n{where}\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}-{device}.md").write_text(text, encoding="utf-8")
    record = {"machine": machine(device=place), "size": size, "batch": batch, "iterations": iterations, "runs": result}
    (out / f"{name}-{device}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
