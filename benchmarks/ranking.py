"""Ranking at the size of Market-1501 against the published loop restated: seconds, memory, and that both agree.

    python benchmarks/ranking.py
    python benchmarks/ranking.py --queries 200 --rounds 1

3,368 queries, 19,732 gallery images (of them 3,819 junk and 2,798 distractors), 2,048 numbers a feature, and the
three weightings of two heads. Features are noise around the centre of each identity, noisy enough for an mAP of about
85 %. The published form ranks one query at a time and one weighting after another; a seeded part of the queries is
timed and extrapolated, because each takes the same time. Contenders take turns, and the least time of each counts.
Processor seconds stand beside it: another job on the machine slows threads that wait for one another more than a single
one. Re-ranking of the same features is measured once. Peak memory is that of a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import torch
from machine import machine, peak_bytes
from numpy.typing import NDArray
from torch.nn import functional

from dgaug.memory import keep_freed_memory
from dgaug.scores.retrieval.features import Split
from dgaug.scores.retrieval.protocols import Protocols, Tables, evaluate_splits
from dgaug.scores.retrieval.reranking import Reranking

QUERIES, GALLERY, LENGTH = 3368, 19732, 2048
IDENTITIES, CAMERAS, JUNK, DISTRACTORS = 750, 6, 3819, 2798
NOISE = 3.0
FINE_WEIGHT = 0.5
WEIGHTINGS = {"prim": (1.0, 0.0), "fine": (0.0, 1.0), "both": (1.0, FINE_WEIGHT)}
RESULTS = Path(__file__).parent / "results"
Sides = tuple[Split, Split]


def sides() -> Sides:
    """Query and gallery of that size; each half of a feature has unit length."""
    chance, noise = np.random.default_rng(0), torch.Generator().manual_seed(0)
    centres = torch.randn(IDENTITIES + 1, LENGTH, generator=noise)
    people = GALLERY - JUNK - DISTRACTORS
    identities = np.concatenate(
        [np.full(JUNK, -1), np.zeros(DISTRACTORS, np.int64), chance.integers(1, IDENTITIES + 1, people)]
    )
    result = []
    for labels in (chance.integers(1, IDENTITIES + 1, QUERIES), chance.permutation(identities)):
        known = torch.from_numpy((labels > 0).astype(np.float32))[:, None]
        features = centres[torch.from_numpy(labels.clip(0))] * known
        features += NOISE * torch.randn(len(labels), LENGTH, generator=noise)
        halves = [functional.normalize(half, dim=1) for half in features.chunk(2, dim=1)]
        result.append(Split([], torch.cat(halves, dim=1), labels, chance.integers(1, CAMERAS + 1, len(labels))))
    return result[0], result[1]


def published(
    query: Split, gallery: Split, scale: tuple[float, float], queries: NDArray[np.int64]
) -> NDArray[np.float64]:
    """AP and rank-1 [n, 2] of some queries, one at a time, as described (method: ranking)."""
    weights = torch.tensor(scale).repeat_interleave(LENGTH // 2)
    result = np.zeros((len(queries), 2))
    for row, number in enumerate(queries):
        score = (gallery.features @ (query.features[number] * weights)).numpy()
        order = np.argsort(score)[::-1]
        same = gallery.identities == query.identities[number]
        seen = gallery.cameras == query.cameras[number]
        junk = np.flatnonzero((gallery.identities == -1) | (same & seen))
        order = order[np.isin(order, junk, invert=True)]
        hits = np.flatnonzero(np.isin(order, np.flatnonzero(same & ~seen)))
        average = 0.0
        for i, rank in enumerate(hits):
            before = i / rank if rank else 1.0
            average += (before + (i + 1) / (rank + 1)) / 2 / len(hits)
        result[row] = average, len(hits) > 0 and hits[0] == 0
    return result


def ours(query: Split, gallery: Split, reranking: Reranking | None = None) -> Tables:
    """The three weightings in one pass; with parameters, the re-ranked figures too, by a second one."""
    result = evaluate_splits(query, gallery, WEIGHTINGS, protocols=Protocols(reranking=reranking))
    return result.ranking["single-query" if reranking is None else "re-ranked"]


def timed(work: Callable[[], object]) -> NDArray[np.float64]:
    """Seconds [2]: by the clock, and of all processors."""
    clocks = time.perf_counter, time.process_time
    began = [clock() for clock in clocks]
    work()
    return np.array([clock() - start for clock, start in zip(clocks, began, strict=True)])


def compare(query: Split, gallery: Split) -> None:
    """Refuse to measure two things that differ: per-query AP and rank-1 of both forms, on all gallery images."""
    few = np.arange(0, QUERIES, 40)
    result = evaluate_splits(query, gallery, WEIGHTINGS).per_query["single-query"]
    for name, scale in WEIGHTINGS.items():
        expected = published(query, gallery, scale, few)
        mine = np.stack([result[name].trapezoid_precision[few], result[name].first_rank[few] == 1], axis=1)
        # In single precision two of 20,000 scores may change places.
        difference = float(np.abs(mine - expected).max())
        if difference > 1e-3:
            raise SystemExit(f"{name}: figures of a query differ by {difference}; nothing is measured")


def measure(rounds: int, queries: int) -> dict[str, float]:
    """Least seconds of each contender by either clock, and the figures."""
    query, gallery = sides()
    compare(query, gallery)
    some = np.random.default_rng(1).choice(QUERIES, queries, replace=False)
    times: dict[str, list[NDArray[np.float64]]] = {"published": [], "dgaug": []}
    for _ in range(rounds):
        loops = [timed(lambda scale=scale: published(query, gallery, scale, some)) for scale in WEIGHTINGS.values()]
        times["published"].append(np.sum(loops, axis=0) * QUERIES / queries)
        times["dgaug"].append(timed(lambda: ours(query, gallery)))
    times["dgaug_rerank"] = [timed(lambda: ours(query, gallery, Reranking()))]
    result: dict[str, float] = {}
    for name, seconds in times.items():
        result[name], result[f"{name}_processor"] = np.min(seconds, axis=0).tolist()
    table = ours(query, gallery)["both"]
    return result | {"queries_timed": queries, "mAP": table["trapezoid_all_queries/mAP"]}


def peak_memory(what: str) -> float:
    """GB at the peak of a process that does only this."""
    command = [sys.executable, __file__, "--only", what]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def only(what: str) -> None:
    """Do one thing and print the peak of the memory in GB."""
    query, gallery = sides()
    if what != "nothing":
        ours(query, gallery, Reranking() if what == "dgaug_rerank" else None)
    click.echo(peak_bytes() / 1e9)


def table(result: dict[str, float]) -> str:
    """The results as Markdown."""
    timed_part = f"{int(result['queries_timed']):,} of {QUERIES:,} queries timed, extrapolated"
    names = {
        "published": f"published loop restated, fp32 ({timed_part})",
        "dgaug": "dgaug, float64, one pass",
        "dgaug_rerank": "dgaug with k-reciprocal re-ranking",
    }
    lines = []
    for name, text in names.items():
        share = "" if name != "dgaug" else f"1/{result['published'] / result[name]:.1f}"
        memory = "" if name == "published" else f"{result[f'{name}_memory']:.1f}"
        lines.append(f"| {text} | {result[name]:.1f} | {share} | {result[f'{name}_processor']:.1f} | {memory} |")
    return "\n".join(
        [
            "# Ranking at the size of Market-1501",
            "",
            f"{machine('numpy', 'scipy')}. {QUERIES:,} x {GALLERY:,} features of {LENGTH:,} numbers, three weightings "
            f"(mAP {100 * result['mAP']:.1f} %). Load of the machine before: {result['load_before']:.1f}.",
            "",
            "| | seconds | of the loop | processor seconds | peak memory, GB |",
            "|---|---:|---:|---:|---:|",
            *lines,
            "",
            f"Of the memory, {result['nothing_memory']:.1f} GB are Python, torch and the features themselves.",
            "",
        ]
    )


@click.command()
@click.option("--queries", default=600, type=click.IntRange(1, QUERIES), help="Timed in the published form.")
@click.option("--rounds", default=3, type=click.IntRange(min=1), help="The best of so many.")
@click.option("--out", default=RESULTS, type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--only", "what", type=click.Choice(["nothing", "dgaug", "dgaug_rerank"]), hidden=True)
def main(queries: int, rounds: int, out: Path, what: str | None) -> None:
    """Measure and write `ranking-cpu.md` and `.json`."""
    keep_freed_memory()
    if what is not None:
        only(what)
        return
    load = os.getloadavg()[0]
    result = measure(rounds, queries) | {"load_before": load}
    result |= {f"{name}_memory": peak_memory(name) for name in ("nothing", "dgaug", "dgaug_rerank")}
    text = table(result)
    out.mkdir(parents=True, exist_ok=True)
    (out / "ranking-cpu.md").write_text(text, encoding="utf-8")
    record = {"machine": machine("numpy", "scipy")} | result
    (out / "ranking-cpu.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
