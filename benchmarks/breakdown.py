"""Where the time goes: of a training iteration, of a synthesised image and of its soft label, by kind of operation.

    python benchmarks/breakdown.py
    python benchmarks/breakdown.py --device cuda

The operations of the published networks at 256 x 128 with random weights, each timed as it runs, beside the fastest
dense product found here: what the products and convolutions reach of it, and what is left for anything but fewer
products. An iteration has every loss on and all of torch's threads. Images and labels are made as `dgaug synthesize`
makes them, on a CPU by one thread.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from machine import machine, product_rate
from operations import BETWEEN, KINDS, OTHER, PRODUCTS, watched
from synthesis import SIZE, read, write_inputs
from training_iteration import RESULTS, make_batch, make_networks, make_step, settings_of

from dgaug.data.normalisation import denormalise
from dgaug.memory import keep_freed_memory
from dgaug.models.reid import soft_labels
from dgaug.store.codes import Codes
from dgaug.store.micro_batch import default_micro_batch
from dgaug.synthesis.decoding import PairDecoder
from dgaug.synthesis.encoding import encode_images
from dgaug.synthesis.tasks import load_networks

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
BATCH, ROUNDS = 8, 3

Runs = dict[str, dict[str, Any]]


def iteration(precision: str, device: torch.device) -> Runs:
    """A training iteration in which the structure encoder learns."""
    settings = settings_of(precision, SIZE, BATCH)
    step = make_step(precision, make_networks(settings, teacher_dropout=0.5), settings, device)
    batch = make_batch(SIZE, BATCH, device)
    return {"iteration": fastest(lambda: step(batch, True), device)}


@torch.no_grad()
def synthesis(precision: str, device: torch.device) -> Runs:
    """Drawing a micro-batch, and labelling it."""
    count = default_micro_batch(device, SIZE)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_inputs(folder)
        networks = load_networks(folder / "generator.pt", folder / "teacher.pt")
        images = read(sorted((folder / "data").rglob("*.jpg"))[:count], device)
    model, teacher = networks.generator, networks.teacher
    assert teacher is not None
    structure, adain = (code.cpu().numpy().astype(np.float16) for code in encode_images(model, denormalise(images)))
    codes, rows = Codes(np.arange(count), structure, adain), np.arange(count, dtype=np.int32)
    drawer = PairDecoder(codes, model.generator.decoder, None, count, precision)

    def label() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            soft_labels(teacher.network, images)

    if device.type == "cpu":
        torch.set_num_threads(1)  # as in a synthesis, which makes as many batches side by side
    return {"picture": fastest(lambda: drawer.generate(rows, rows), device), "label": fastest(label, device)}


def fastest(work: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """The fastest of some rounds, after one to warm up."""
    work()
    return min((watched(work, device) for _ in range(ROUNDS)), key=lambda run: float(run["seconds"]))


def measure(part: str, precision: str, device: torch.device) -> Runs:
    """What a part of the work is made of, in this process, with the rate of the fastest dense product."""
    keep_freed_memory()  # as the command does
    result = (iteration if part == "iteration" else synthesis)(precision, device)
    ceiling = product_rate(device, PRECISIONS[precision])
    return {f"{name}, {precision}": run | {"ceiling": ceiling} for name, run in result.items()}


def table(runs: Runs) -> list[str]:
    """Shares of the time by kind, as lines of a Markdown table; a column for each run."""
    lines = [f"| share of the time | {' | '.join(runs)} |", "|---|" + "---:|" * len(runs)]
    for kind in (*KINDS, OTHER, BETWEEN):
        shares = [run["kinds"].get(kind, 0) / run["seconds"] for run in runs.values()]
        if max(shares) >= 0.001:
            lines.append(f"| {kind} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    products = [sum(run["kinds"].get(kind, 0) for kind in PRODUCTS) for run in runs.values()]
    rates = [run["flop"] / seconds for run, seconds in zip(runs.values(), products, strict=True)]
    for words, cells in {
        "seconds": [f"{run['seconds']:.3g}" for run in runs.values()],
        "TFLOP of products and convolutions": [f"{run['flop'] / 1e12:.3g}" for run in runs.values()],
        "GFLOP/s while they run": [f"{rate / 1e9:,.0f}" for rate in rates],
        "GFLOP/s of the fastest dense product": [f"{run['ceiling'] / 1e9:,.0f}" for run in runs.values()],
        "of it reached while they run": [
            f"{rate / run['ceiling']:.0%}" for rate, run in zip(rates, runs.values(), strict=True)
        ],
        "of it reached in all": [f"{run['flop'] / run['seconds'] / run['ceiling']:.0%}" for run in runs.values()],
    }.items():
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines


def write_results(out: Path, runs: Runs, device: torch.device) -> str:
    """Write `breakdown-DEVICE.md` and `.json`; returns the text."""
    count = default_micro_batch(device, SIZE)
    where = (
        f"{machine(device=device)}. {SIZE[0]} x {SIZE[1]}; iteration: batch {BATCH} + {BATCH}, every loss, fast "
        f"arithmetic; image and label: of a micro-batch of {count}"
        f"{', on one thread' if device.type == 'cpu' else ''}. The fastest of {ROUNDS} rounds; watching an operation "
        "costs a few microseconds, which count as time between operations."
    )
    text = "\n".join(["# Where the time goes", "", where, "", *table(runs), ""])
    out.mkdir(parents=True, exist_ok=True)
    (out / f"breakdown-{device.type}.md").write_text(text, encoding="utf-8")
    record = {"machine": machine(device=device), "batch": BATCH, "micro_batch": count, "runs": runs}
    (out / f"breakdown-{device.type}.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return text


@click.command(context_settings={"show_default": True})
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="Folder of the .md and .json files.")
@click.option("--one", hidden=True, nargs=2, help="Measure this part in this precision here, as JSON.")
def main(device: str, out: Path, one: tuple[str, str] | None) -> None:
    """Watch a training iteration and a micro-batch of a synthesis, in fp32 and bf16."""
    place = torch.device(device)
    if one is not None:
        click.echo(json.dumps(measure(*one, place)))
        return
    runs: Runs = {}
    for part in ("iteration", "synthesis"):
        for precision in PRECISIONS:
            command = [sys.executable, __file__, "--one", part, precision, "--device", device]
            runs |= json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            click.echo(f"{part}, {precision}: done", err=True)
    order = [name for part in ("iteration", "picture", "label") for name in runs if name.startswith(part)]
    click.echo(write_results(out, {name: runs[name] for name in order}, place))


if __name__ == "__main__":
    main()
