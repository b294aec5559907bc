"""Iterations of DG-Net training per hour at the sizes for machines without a GPU, here and in another commit.

    git worktree add build/before b44ef3f
    python benchmarks/iterations_per_hour.py --before build/before

Each value is the time of a whole `dgaug train` less that of a shorter one, so start-up, data generation and the teacher
don't count; the commits take turns. The first two rows of a size have every published term and do the same work; the
others are the two stages of `make toy-generator`, the second still with `identification`, `positive` and `real_fine`,
which that preset has left out since: it computes less.
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
SETTINGS = """
data: {height: 64, width: 32, pad: 2}
toy: {identities: 16, images_per_identity: 6}
model: {width: 0.5, backbone: small, weights: none, embedding: 256}
teacher: {iterations: 2, batch_size: 32}
schedule: {batch_size: 8, ramp_start: 0.0, ramp_length: 0.01}
loss: {appearance_code: 2.0}
checkpoint: {every: 1000000, preview: 1000000}
"""
"""What both commits know; every published term is on from the first iterations."""
SIZES: dict[str, tuple[str, ...]] = {
    "64 x 32, half width, 8 + 8 images": (),
    "128 x 64, half width, EfficientNet-Lite0, 4 + 4 images": (
        *("data.height=128", "data.width=64", "model.backbone=tf_efficientnet_lite0", "schedule.batch_size=4"),
    ),
}
BOTH_STAGES = (
    *("structure_input.mixing=random", "structure_input.region=middle", "optimizer.backbone=0"),
    *("loss.reconstruction=0", "loss.generated_identity=0", "loss.teacher=0", "loss.fine=0"),
)
FIRST = (
    *BOTH_STAGES,
    *("loss.adversarial=0", "loss.cycle=0", "loss.structure_code=0", "loss.identification=0", "loss.positive=0"),
)
SECOND = (
    *BOTH_STAGES,
    "model.discriminator=paired",
    "loss.structure_branch=1",
    "behaviour.appearance_statistics=frozen",
)
BEFORE, AFTER = "published terms, before", "published terms"


def seconds(checkout: Path, settings: tuple[str, ...], folder: Path) -> float:
    """Wall time of one training."""
    links = Path(tempfile.mkdtemp(dir=folder))
    for package, path in LINKS.items():
        (links / package).symlink_to(checkout.resolve() / path)
    config = links / "config.yaml"
    config.write_text(SETTINGS, encoding="utf-8")
    options = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "dgaug", "train", "--config", config, *options, "--out", links / "run"]
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
            contenders = {
                BEFORE: (before, size),
                AFTER: (HERE, size),
                "first stage": (HERE, (*size, *FIRST)),
                "second stage": (HERE, (*size, *SECOND)),
            }
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
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1), help="Rounds per variant.")
@click.option("--iterations", default=30, show_default=True, type=click.IntRange(min=5), help="Timed iterations.")
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
