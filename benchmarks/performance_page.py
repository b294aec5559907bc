"""Write docs/performance.md and its chart from what lies in `results/`; nothing is measured.

python benchmarks/performance_page.py
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from matplotlib.figure import Figure

from dgaug.figures.charts import save_figure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE, CHART = ROOT / "docs" / "performance.md", "images/performance.png"
HEAD = f"""\
# Performance

Made by `python benchmarks/performance_page.py` from [benchmarks/results](../benchmarks/results); each line was measured
side by side in one run of the script that is named, on the machine below. `make bench` measures all of it on yours.
What each benchmark does and checks before it times anything is in [benchmarks/README.md](../benchmarks/README.md); how
cost grows with N in [scaling.md](scaling.md).

![Times faster or smaller than what each is compared with]({CHART})

| | compared with | there | dgaug | times |
|---|---|---:|---:|---:|
"""
NOT_MEASURED = "**Not measured yet.** dgaug has not run on a GPU so far; what is said of it is tested without one."
GPU = f"""\
## On a GPU

{NOT_MEASURED} To measure it, in two
calls of at most eight minutes each, on a machine that needs torch and nothing of dgaug's:

    benchmarks/gpu/prepare.sh ../Market-1501 ENCODER.safetensors
    python benchmarks/gpu/run.py 1
    python benchmarks/gpu/run.py 2

The first line runs where there is a network and fills `build/carried` (wheels, Market's training split, an encoder in
half precision; 44 MB in all). Call 1 compares the GPU with the CPU, then times an iteration and synthesis against the
published way; call 2 trains with the real loader, with and without an online feed, and on real images. Results appear,
line by line, in `benchmarks/results/gpu/call-1.md` and `call-2.md` (and as JSON), with card, versions and command.
`run.py 1 --rehearse` runs all of it tiny on a CPU; `make test-gpu` tests what only a card can show.
"""
COLD = "../benchmarks/results/cold_start-cpu.md"
SIZES = (100, 1_000, 12_936, 100_000)
"""N of the table of growth; the third is Market-1501's."""
WORKERS = 8
DGAUG, OTHER = "#1b7837", "#999999"


@dataclass(frozen=True)
class Claim:
    """One line of the table.

    Attributes:
        what: the work, in words.
        against: what it is compared with, in the same run.
        other, ours: in `unit`.
        unit: of both; a rate where it has a `/`, seconds or GB otherwise.
    """

    what: str
    against: str
    other: float
    ours: float
    unit: str

    @property
    def times(self) -> float:
        """How many times faster (or smaller) ours is."""
        return self.ours / self.other if "/" in self.unit else self.other / self.ours

    @property
    def ratio(self) -> str:
        """`times` in two digits."""
        return f"{self.times:.2g}" if self.times < 10 else f"{self.times:.0f}"


def training(record: dict[str, Any]) -> Iterator[Claim]:
    """Claims of `training_iteration.py`."""
    runs, published = record["runs"], "published form restated, fp32"
    for name, words in (("fp32", "training iteration, the same work, fp32"), ("bf16", "the same in bf16")):
        yield Claim(words, published, runs["restated"]["seconds"], runs[name]["seconds"], "s")
    yield Claim(
        "its memory, fp32", published, runs["restated"]["peak_bytes"] / 1e9, runs["fp32"]["peak_bytes"] / 1e9, "GB"
    )


def iterations_per_hour(record: dict[str, Any]) -> Iterator[Claim]:
    """Claims of `iterations_per_hour.py`."""
    for size, contenders in record["seconds"].items():
        before, *others = ((name, 3600 / statistics.median(taken)) for name, taken in contenders.items())
        for name, rate in others:
            yield Claim(
                f"DG-Net at {size.split(',')[0]}: {name}",
                f"{before[0]} ({record['before']})",
                before[1],
                rate,
                "iterations/h",
            )


def synthesis(record: dict[str, Any]) -> Iterator[Claim]:
    """Claims of `synthesis.py`."""
    rates = {name: run["pictures"] / run["seconds"] for name, run in record["runs"].items()}
    published = "both donors encoded for every pair, fp32"
    for name, words in (("fp32", "synthesis of N x N, fp32"), ("bf16", "the same, `--precision bf16`")):
        yield Claim(words, published, rates["published"], rates[name], "images/s")


def store(record: dict[str, Any]) -> Iterator[Claim]:
    """Claims of `store.py`."""
    yield Claim(
        "writing a store, with pairs, labels and checksums, on the disk",
        "a file for each image, images only, not waited for",
        record["files"],
        record["written"],
        "images/s",
    )
    yield Claim(
        "reading a store, with parents, labels and checks",
        "plain Pillow, bytes in memory, images only",
        record["pillow"],
        record["jpeg"],
        "images/s",
    )


def ranking(record: dict[str, Any]) -> Iterator[Claim]:
    """Claims of `ranking.py`."""
    published = "published loop restated, one query at a time"
    yield Claim("ranking at Market-1501's size, three weightings", published, record["published"], record["dgaug"], "s")


def scores(record: dict[str, Any]) -> Iterator[Claim]:
    """Claims of `scores.py`."""
    count, commands = max(record["commands"].items(), key=lambda item: int(item[0]))
    ways = [commands[name]["seconds"] for name in ("pytorch-fid", "dgaug score-fid")]
    yield Claim(f"`score-fid`, {int(count):,} + {int(count):,} images, whole command", "`pytorch_fid`", *ways, "s")
    count, steps = max(record["frechet_seconds"].items(), key=lambda item: int(item[0]))
    ways = [steps[name] for name in ("pytorch-fid", "dgaug, from moments")]
    yield Claim(f"its Fréchet step, {int(count):,} + {int(count):,}", "`pytorch_fid`", *ways, "s")


BENCHMARKS: dict[str, Callable[[dict[str, Any]], Iterator[Claim]]] = {
    "training_iteration": training,
    "iterations_per_hour": iterations_per_hour,
    "synthesis": synthesis,
    "store": store,
    "ranking": ranking,
    "scores": scores,
}


def claims(device: str) -> dict[str, tuple[str, list[Claim]]]:
    """By benchmark, the machine that was measured and the claims, of those that have results."""
    result = {}
    for name, read in BENCHMARKS.items():
        file = RESULTS / f"{name}-{device}.json"
        if file.is_file():
            record = json.loads(file.read_text(encoding="utf-8"))
            result[name] = record["machine"], list(read(record))
    return result


def page(result: dict[str, tuple[str, list[Claim]]]) -> str:
    """The page, as Markdown."""
    lines = HEAD.splitlines()
    for _, rows in result.values():
        lines += [
            f"| {row.what} | {row.against} | {_with_unit(row.other, row)} | {_with_unit(row.ours, row)} | {row.ratio} |"
            for row in rows
        ]
    for section in (_help(), _labels(), _breakdown(), _growth(), _gpu(), ["| benchmark | measured on |", "|---|---|"]):
        lines += ["", *section] if section else []
    lines += [f"| [{name}.py](../benchmarks/{name}.py) | {machine} |" for name, (machine, _) in result.items()]
    return "\n".join([*lines, ""])


def _gpu() -> list[str]:
    """How to measure on a GPU, and what was measured there by `gpu/run.py`, if it was."""
    measured = sorted((RESULTS / "gpu").glob("*.md"))
    if not measured:
        return GPU.splitlines()
    lines = GPU.replace(NOT_MEASURED, "Measured twice, briefly; the tables follow.").splitlines()
    for file in measured:
        lines += ["", *(f"##{line}" if line.startswith("#") else line for line in file.read_text("utf-8").splitlines())]
    return lines


def chart(result: dict[str, tuple[str, list[Claim]]]) -> Figure:
    """How many times faster or smaller, on a logarithmic axis."""
    rows = [row for _, part in result.values() for row in part]
    figure = Figure(figsize=(9, 0.8 + 0.38 * len(rows)), dpi=130, layout="constrained")
    axes = figure.subplots()
    places = range(len(rows), 0, -1)
    axes.barh(
        places, [row.times - 1 for row in rows], left=1, color=[DGAUG if row.times >= 1 else OTHER for row in rows]
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(min(0.5, *(0.8 * row.times for row in rows)), 2 * max(row.times for row in rows))
    axes.axvline(1, color="#333333", linewidth=1)
    axes.set_yticks(places, [row.what.replace("`", "") for row in rows])
    for place, row in zip(places, rows, strict=True):
        axes.text(max(row.times, 1) * 1.05, place, f"{row.ratio} x", va="center")
    axes.set_xlabel("times faster (or smaller) than what it is compared with, log scale")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _growth() -> list[str]:
    """What a store of N images costs, by the measured cost of a source and of a pair."""
    file = RESULTS / "synthesis-cpu.json"
    if not file.is_file():
        return []
    record = json.loads(file.read_text(encoding="utf-8"))
    run = record["runs"]["fp32"]
    source = run["encoders"] / record["sources"]
    pair = (run["seconds"] - run["encoders"]) / run["pictures"]
    lines = [
        "## How synthesis grows with N",
        "",
        f"On paper, from the fp32 run above: {1000 * source:.0f} ms a source (encoded once, by rank 0),",
        f"{1000 * pair:.1f} ms a pair (shared by all processes, which do not talk); 256 x 128, no labels, each",
        "process on two cores of its own.",
        "",
        "| N | encoding | `per-appearance:10` | 8 processes | `all` | 8 processes | gain of 8 |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for count in SIZES:
        ten, every = (source * count, pair * 10 * count), (source * count, pair * count**2)
        cells = [
            _time(source * count),
            *(_time(once + share / w) for once, share in (ten, every) for w in (1, WORKERS)),
        ]
        gain = (every[0] + every[1]) / (every[0] + every[1] / WORKERS)
        lines.append(f"| {count:,} | {' | '.join(cells)} | {gain:.1f} |")
    once, share = source, pair * 10
    few = ", ".join(f"{(once + share) / (once + share / w):.1f}" for w in (1, 2, 4, 8))
    return [
        *lines,
        "",
        f"With 1, 2, 4 and 8 processes `per-appearance:10` is {few} times faster: encoding is not",
        "shared. Memory does not grow with the number of pairs; codes lie on disk (0.5 MB a source at this size).",
    ]


def _labels() -> list[str]:
    """What soft labels cost, where that was measured."""
    file = RESULTS / "synthesis-cpu.json"
    runs = json.loads(file.read_text(encoding="utf-8"))["runs"] if file.is_file() else {}
    if not {"labels", "labels-bf16"} <= runs.keys():
        return []
    full, half = (runs[name]["pictures"] / runs[name]["seconds"] for name in ("labels", "labels-bf16"))
    share = runs["labels"]["teacher"] / runs["labels"]["seconds"]
    return [
        f"With soft labels, which the published way does not store, synthesis makes {full:.1f} images/s in fp32:",
        f"the teacher, a ResNet-50 that sees each image twice, takes {share:.0%} of the time. With",
        f"`--precision bf16-labels` it makes {half:.1f}.",
    ]


def _breakdown() -> list[str]:
    """Where the time goes, by kind of operation."""
    file = RESULTS / "breakdown-cpu.json"
    if not file.is_file():
        return []
    record = json.loads(file.read_text(encoding="utf-8"))
    lines = file.with_suffix(".md").read_text(encoding="utf-8").splitlines()
    return [
        "## Where the time goes",
        "",
        "Measured by [breakdown.py](../benchmarks/breakdown.py) at 256 x 128: a training iteration of",
        f"{record['batch']} + {record['batch']} images with every loss; {record['micro_batch']} images drawn, and "
        "their soft labels, on one thread as",
        "in a synthesis. The fastest dense product, of matrices or a wide convolution, is found on the same threads in",
        "the same precision: what runs near it is made faster by nothing but fewer products.",
        "",
        *(line for line in lines if line.startswith("|")),
    ]


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def _help() -> list[str]:
    """How fast the command line answers, where that was measured."""
    file = RESULTS / "cold_start-cpu.json"
    if not file.is_file():
        return []
    processes = json.loads(file.read_text(encoding="utf-8"))["processes"]
    answer, library = (processes[name]["seconds"] for name in ("`dgaug --help`", "`import torch`"))
    return [
        f"`dgaug --help` answers after {answer:.2f} s ([cold start]({COLD})): it imports no torch, which alone takes",
        f"{library:.1f} s here.",
    ]


def _with_unit(value: float, row: Claim) -> str:
    return f"{value:,.0f} {row.unit}" if value >= 100 else f"{value:.3g} {row.unit}"


@click.command()
def main() -> None:
    """Write the page and its chart."""
    result = claims("cpu")
    PAGE.write_text(page(result), encoding="utf-8")
    save_figure(chart(result), PAGE.parent / CHART)


if __name__ == "__main__":
    main()
