"""Step 3: a store by dgaug against the published way of making images, and the time that all of Market-1501 takes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import synthesis
import torch
from record import Record, Values

import dgaug
from dgaug.cuda_math import exact_products
from dgaug.device import use_device
from dgaug.store.read import open_store

STEP = "synthesis"
MARKET = 12_936
"""Training images of Market-1501; all N x N are 167 million."""
SOURCES = 256
WAYS = {
    "dgaug, bf16, soft labels": ("bf16-labels", True),
    "dgaug, bf16": ("bf16", False),
    "dgaug, fp32": ("fp32", False),
    "dgaug, fp32, soft labels": ("fp32", True),
}


def time_stores(record: Record, device: torch.device, work: Path, *, pairs: int, short: bool) -> None:
    """All lines of the step."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    sources = synthesis.IDENTITIES if short else SOURCES
    synthesis.write_inputs(work, sources)
    few = 4 if short else 128
    record.measure(STEP, "published way, TF32", partial(published, work, few, device, tf32=True), needs=10)
    record.measure(STEP, "published way, fp32", partial(published, work, few, device, tf32=False), needs=10)
    for name, (precision, labels) in WAYS.items():
        made = partial(store, work, device, pairs=pairs, precision=precision, labels=labels)
        record.measure(STEP, name, made, needs=15)
    record.measure(STEP, "decoded values", lambda: apart(work, device), needs=20)


def apart(work: Path, device: torch.device) -> Values:
    """Relative distance of dgaug's decoded values from the published ones; grey levels of bf16 from fp32."""
    with use_device(device):
        return dict(synthesis.differences(work, device))


def published(work: Path, pairs: int, device: torch.device, *, tf32: bool) -> Values:
    """Both donors encoded for every pair, alone."""
    shutil.rmtree(work / "out", ignore_errors=True)
    if tf32:
        torch.backends.cudnn.allow_tf32 = True  # as torch starts
        seconds = synthesis.published(work, pairs, device)["seconds"]
    else:
        with exact_products():
            seconds = synthesis.published(work, pairs, device)["seconds"]
    return {"images": pairs, **rates(pairs / seconds)}


def store(work: Path, device: torch.device, *, pairs: int, precision: str, labels: bool) -> Values:
    """A whole store of JPEG images; the rate is that between the first report of progress and the last image."""
    ticks: list[tuple[float, int]] = []

    def heard(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title == "synthesis":
            ticks.append((time.perf_counter(), done))

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    made = dgaug.synthesize(
        checkpoint=work / "generator.pt",
        data=work / "data",
        teacher=work / "teacher.pt" if labels else "none",
        pairs=f"random:{pairs}",
        precision=precision,
        out=work / "store",
        device=str(device),
        force=True,
        progress=heard,
    )
    seconds = time.perf_counter() - began
    first, before = ticks[0]
    # The end is told twice: when the last image is made, and when everything is on disk.
    last, after = next(tick for tick in ticks if tick[1] == ticks[-1][1])
    rate = (after - before) / (last - first) if after > before else made.count / seconds
    values: Values = {"images": made.count, **rates(rate), "whole call, s": seconds}
    values["micro-batch"] = open_store(made.store).spec.micro_batch
    if device.type == "cuda":
        values["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
    return values


def rates(images: float) -> Values:
    """Images per second, and the hours for all of Market-1501 at that rate."""
    return {"images/s": images, "hours for Market-1501": MARKET**2 / images / 3600}
