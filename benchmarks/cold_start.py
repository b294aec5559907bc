"""How long the command line takes to answer, from nothing: help, version, presets; beside Python and torch alone.

    python benchmarks/cold_start.py

Each is a process of its own, started in turns; the median and the spread between the quartiles count.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import click
from machine import machine

RESULTS = Path(__file__).parent / "results"
CONTENDERS = {
    "python alone": ("-c", "pass"),
    "`dgaug --help`": ("-m", "dgaug", "--help"),
    "`dgaug train --help`": ("-m", "dgaug", "train", "--help"),
    "`dgaug config list`": ("-m", "dgaug", "config", "list"),
    "`import torch`": ("-c", "import torch"),
    "`import torch, torchvision, timm`": ("-c", "import torch, torchvision, timm"),
}


def seconds(arguments: tuple[str, ...]) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Median and quartiles of each, after one round that only warms the disk cache."""
    taken: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for number in range(rounds + 1):
        for name, arguments in CONTENDERS.items():
            result = seconds(arguments)
            if number:
                taken[name].append(result)
    summary = {}
    for name, values in taken.items():
        low, median, high = statistics.quantiles(values, n=4)
        summary[name] = {"seconds": median, "low": low, "high": high}
    return summary


def page(result: dict[str, dict[str, float]], rounds: int, load: float) -> str:
    """The results as Markdown."""
    lines = [
        f"| {name} | {row['seconds']:.3f} | {row['low']:.3f} to {row['high']:.3f} |" for name, row in result.items()
    ]
    where = f"{machine('click')}. {rounds} processes each, in turns; load of the machine before: {load:.1f}."
    head = ["# Cold start", "", where, "", "| process | s, median | quartiles |", "|---|---:|---:|"]
    return "\n".join([*head, *lines, ""])


@click.command()
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(min=2), help="Processes of each kind.")
@click.option("--out", default=RESULTS, type=click.Path(path_type=Path), help="Folder of the results.")
def main(rounds: int, out: Path) -> None:
    """Measure and write `cold_start-cpu.md` and `.json`."""
    load = os.getloadavg()[0]
    result = measure(rounds)
    text = page(result, rounds, load)
    out.mkdir(parents=True, exist_ok=True)
    (out / "cold_start-cpu.md").write_text(text, encoding="utf-8")
    record = {"machine": machine("click"), "rounds": rounds, "load_before": load, "processes": result}
    (out / "cold_start-cpu.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
