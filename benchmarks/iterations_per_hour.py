"""Iterations of DG-Net training per hour at the sizes for machines without a GPU, here and in another commit.

    git worktree add build/before b44ef3f
    python benchmarks/iterations_per_hour.py --before build/before

Each figure is the time of a whole `dgaug train` less that of a shorter one, so starting, drawing the data and the
teacher don't count; the commits take turns. The preset's iteration does the same work in both. The last row of a size
is what this commit offers besides: only the terms of a first stage, without discriminator and structure code.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from machine import machine

HERE = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
LINKS = {"dgaug": "dgaug", "dgaug_cli": "cli", "dgaug_configs": "configs"}
"""Packages of a checkout and their folders."""
SIZES = {
    "64 x 32, half width, 8 + 8 images": (),
    "128 x 64, half width, EfficientNet-Lite0, 4 + 4 images": (
        *("data.height=128", "data.width=64", "model.backbone=tf_efficientnet_lite0", "schedule.batch_size=4"),
    ),
}
COMMON = ("toy.identities=16", "teacher.iterations=2", "checkpoint.every=1000000", "checkpoint.preview=1000000")
FIRST_STAGE = (
    *("schedule.adversarial_start=0.9", "loss.structure_code=0", "loss.cycle=0", "loss.reconstruction=0"),
    *("loss.teacher=0", "loss.fine=0"),
)
BEFORE, AFTER, SHORTER = "preset, before", "preset", "terms of a first stage"


def seconds(checkout: Path, settings: tuple[str, ...], folder: Path) -> float:
    """Wall time of one training."""
    links = Path(tempfile.mkdtemp(dir=folder))
    for package, path in LINKS.items():
        (links / package).symlink_to(checkout.resolve() / path)
    options = [part for setting in (*COMMON, *settings) for part in ("--set", setting)]
    command = [sys.executable, "-m", "dgaug", "train", "--config", "toy-generator", *options, "--out", links / "run"]
    began = time.perf_counter()
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(links)}, capture_output=True, text=True)
    taken = time.perf_counter() - began
    if ended.returncode:
        raise click.ClickException(f"{checkout}: {ended.stderr}")
    return taken


def iteration_seconds(checkout: Path, settings: tuple[str, ...], iterations: int, folder: Path) -> float:
    """Seconds of one iteration: what so many more of them add to a training."""
    short = 3
    few, many = (
        seconds(checkout, (*settings, f"schedule.iterations={count}"), folder) for count in (short, short + iterations)
    )
    return (many - few) / iterations


def measure(before: Path, rounds: int, iterations: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of an iteration at each size, of each contender, in each round."""
    result: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            contenders = {BEFORE: (before, size), AFTER: (HERE, size), SHORTER: (HERE, (*size, *FIRST_STAGE))}
            result[name] = {contender: [] for contender in contenders}
            for _ in range(rounds):
                for contender, (checkout, settings) in contenders.items():
                    taken = iteration_seconds(checkout, settings, iterations, Path(folder))
                    result[name][contender].append(taken)
    return result


def page(result: dict[str, dict[str, list[float]]], before: str, rounds: int, iterations: int, load: float) -> str:
    """The results as Markdown."""
    where = (
        f"{machine('timm')}. Medians of {rounds} rounds of {iterations} iterations, in turns; "
        f"before: commit {before}; load of the machine before: {load:.1f}."
    )
    lines = []
    for size, contenders in result.items():
        base = statistics.median(contenders[BEFORE])
        for contender, taken in contenders.items():
            middle = statistics.median(taken)
            spread = f"{min(taken):.3f} to {max(taken):.3f}"
            lines.append(
                f"| {size} | {contender} | {middle:.3f} | {spread} | {3600 / middle:,.0f} | {base / middle:.2f} |"
            )
    head = ["# Iterations per hour", "", where, ""]
    columns = ["| size | iteration | s, median | least to most | per hour | times |", "|---|---|---:|---:|---:|---:|"]
    return "\n".join([*head, *columns, *lines, ""])


@click.command()
@click.option("--before", required=True, type=click.Path(exists=True, path_type=Path), help="Checkout to compare with.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Of every contender.")
@click.option("--iterations", default=30, show_default=True, type=click.IntRange(min=5), help="That are timed.")
@click.option("--out", default=RESULTS, type=click.Path(path_type=Path), help="Folder of the results.")
def main(before: Path, rounds: int, iterations: int, out: Path) -> None:
    """Measure and write `iterations_per_hour-cpu.md` and `.json`."""
    load = os.getloadavg()[0]
    commit = subprocess.run(
        ["git", "-C", before, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    result = measure(before, rounds, iterations)
    text = page(result, commit, rounds, iterations, load)
    out.mkdir(parents=True, exist_ok=True)
    (out / "iterations_per_hour-cpu.md").write_text(text, encoding="utf-8")
    record = {"machine": machine("timm"), "before": commit, "load_before": load, "seconds": result}
    (out / "iterations_per_hour-cpu.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
