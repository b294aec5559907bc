"""Step 4: training with the real loader: the share of time spent waiting for it; and what an online feed costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from record import Record, Values

import dgaug
import dgaug.training.dgnet_loop
import dgaug.training.reid_loop

STEP = "loader and feed"
FULL = ("data.height=256", "data.width=128", "model.weights=none", "behaviour.precision=bf16", "behaviour.graphs=true")
TINY = (
    "data.height=64", "data.width=32", "data.pad=2", "model.width=0.25", "model.backbone=small", "model.weights=none",
    "model.embedding=16", "teacher.batch_size=8", "schedule.batch_size=2", "reid.batch_size=8",
)  # fmt: skip
IDENTITIES = 100
FIRST = 10
"""Iterations that are not counted: loader processes start in them."""


def time_training(record: Record, data: Path, work: Path, device: torch.device, *, short: bool) -> None:
    """All lines of the step."""
    counts = (24, 14) if short else (150, 100)
    run = work / "run"
    record.measure(
        STEP, "teacher, then DG-Net", partial(trained, record, data, run, device, counts, short=short), needs=40
    )
    if not (run / "checkpoints/last.pt").is_file():
        record.note(f"{STEP}: feeds left out, there is no run")
        return
    # As many images in a step on both sides: a fed step has as many generated ones as real ones.
    for feed, batch in (("none", 2), ("online", 1)):
        size = batch * (8 if short else 32)
        record.measure(STEP, f"re-id, feed {feed}", partial(fed, run, work, device, feed, size, short=short), needs=15)


def trained(
    record: Record, data: Path, run: Path, device: torch.device, counts: tuple[int, int], *, short: bool
) -> Values:
    """Teacher and DG-Net on real images; a line each, and the seconds of both."""
    waits: dict[str, list[tuple[float, float]]] = {}
    began = time.perf_counter()
    with watched_loaders(waits):
        dgaug.train(
            data,
            "market1501",
            overrides=[
                *(TINY if short else FULL),
                f"data.limit_identities={IDENTITIES}",
                f"teacher.iterations={counts[0]}",
                f"schedule.iterations={counts[1]}",
                "checkpoint.preview=1000000",
                "checkpoint.every=1000000",
            ],
            out=run,
            device=str(device),
            force=run.exists(),
        )
    for name, result in waits.items():
        record.add(STEP, name, share(result))
    return {"s": time.perf_counter() - began}


@contextmanager
def watched_loaders(waits: dict[str, list[tuple[float, float]]]) -> Iterator[None]:
    """Note when each batch was asked for and when it came, by phase."""
    phases = {"teacher": dgaug.training.reid_loop, "DG-Net": dgaug.training.dgnet_loop}
    before = {name: module.endless_batches for name, module in phases.items()}
    for name, module in phases.items():
        waits[name] = []
        vars(module)["endless_batches"] = partial(_watched, before[name], waits[name])
    try:
        yield
    finally:
        for name, module in phases.items():
            vars(module)["endless_batches"] = before[name]


def _watched(
    batches: Callable[..., Generator[Any, None, None]], waits: list[tuple[float, float]], *args: Any, **kwargs: Any
) -> Generator[Any, None, None]:
    inner = batches(*args, **kwargs)
    try:
        while True:
            asked = time.perf_counter()
            batch = next(inner)
            waits.append((asked, time.perf_counter()))
            yield batch
    finally:
        inner.close()


def share(waits: list[tuple[float, float]]) -> Values:
    """Milliseconds of an iteration and the share of them in which the loader was waited for."""
    counted = waits[min(FIRST, len(waits) - 2) :]
    whole = counted[-1][0] - counted[0][0]
    waited = sum(came - asked for asked, came in counted[:-1])
    return {"ms": 1e3 * whole / (len(counted) - 1), "waiting": waited / whole}


def fed(run: Path, work: Path, device: torch.device, feed: str, batch: int, *, short: bool) -> Values:
    """Milliseconds of a re-id step; beside a GPU progress is told every 20 steps."""
    ticks: list[tuple[float, int]] = []

    def heard(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title.startswith("re-id") and done >= FIRST:
            ticks.append((time.perf_counter(), done))

    dgaug.train_reid(
        run,
        feed=feed,
        twin=False,
        overrides=[
            f"reid.iterations={48 if short else 80}",
            f"reid.batch_size={batch}",
            "reid.ramp_start=0",
        ],
        out=work / f"reid-{feed}",
        device=str(device),
        force=True,
        progress=heard,
    )
    (began, first), (ended, last) = ticks[0], ticks[-1]
    return {"ms": 1e3 * (ended - began) / (last - first), "images in a step": batch * (2 if feed == "online" else 1)}
