"""Step 2: one training iteration, the published form against dgaug's, each in the ways that it can be computed."""

from __future__ import annotations

import gc
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import torch
from machine import product_rate, synchronize
from operations import watched
from record import Record, Values
from torch.profiler import ProfilerActivity, profile
from training_iteration import Step, make_batch, make_networks, make_step, settings_of

from dgaug.cuda_math import training_math
from dgaug.training.losses import Batch

STEP = "iteration"
WARM, TIMED, ENOUGH = 10, 40, 8.0
"""Iterations before the clock starts; those that are timed, fewer where they would take more than so many seconds."""
WAYS: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    "published form, TF32": ("restated", True, ()),
    "dgaug's defaults, bf16, graphs": ("defaults", True, ("behaviour.graphs=true",)),
    "dgaug's defaults, bf16": ("defaults", True, ("behaviour.graphs=false",)),
    "dgaug, the same work, bf16, graphs": ("bf16", True, ("behaviour.graphs=true",)),
    "dgaug, the same work, TF32, graphs": ("fp32", True, ("behaviour.graphs=true",)),
    "published form, fp32": ("restated", False, ()),
    "dgaug, the same work, fp32": ("fp32", False, ("behaviour.graphs=false",)),
}
"""By name: the contender of training_iteration.py, whether TF32 is on, and further settings."""
COMPILED: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    "dgaug's defaults, bf16, compiled, graphs": ("compiled", True, ("behaviour.graphs=true",)),
}
SHOWN = 25
"""Kernels in the list of those that take longest."""


def time_iterations(
    record: Record,
    device: torch.device,
    *,
    ways: dict[str, tuple[str, bool, tuple[str, ...]]],
    size: tuple[int, int],
    batch: int,
    short: bool,
) -> None:
    """All lines of the step; `short`: a few iterations, as a rehearsal."""
    half = torch.bfloat16 if device.type == "cuda" else torch.float32
    rate = product_rate(device, half)
    record.add(STEP, "fastest dense product", {"TFLOP/s": rate / 1e12})
    for name, (contender, tf32, more) in ways.items():
        if short and contender == "compiled":
            record.note(f"{STEP}: {name}: left out of a rehearsal, a compilation takes minutes on a CPU")
            continue
        longest = record.file.with_name(f"{record.file.name}-{name.replace(' ', '-')}.txt")
        work = partial(
            way, contender, device, longest, tf32=tf32, more=more, size=size, batch=batch, rate=rate, short=short
        )
        record.measure(STEP, name, work, needs=10 if short else 90 if contender == "compiled" else 15)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def way(
    contender: str,
    device: torch.device,
    longest: Path,
    *,
    tf32: bool,
    more: tuple[str, ...],
    size: tuple[int, int],
    batch: int,
    rate: float,
    short: bool,
) -> Values:
    """Seconds of an iteration, its peak memory, its share of the fastest product, and its kernels."""
    settings = settings_of(contender, size, batch, f"behaviour.tf32={str(tf32).lower()}", *more)
    with training_math(settings.behaviour, device):  # cuDNN's fastest algorithms, for the published form too
        step = make_step(contender, make_networks(settings, teacher_dropout=0.5), settings, device)
        images = make_batch(size, batch, device)
        eager = contender != "compiled" and "behaviour.graphs=true" not in more
        branches = () if not eager else (True,) if short else (True, False)
        flops = [watched(partial(step, images, learns), device)["flop"] for learns in branches]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        warm, most = (0, 1) if short else (WARM, TIMED)
        _run(step, images, warm, device)
        first = _run(step, images, 2, device) / 2 if warm else ENOUGH
        count = min(most, max(2, 2 * round(ENOUGH / first / 2))) if warm else most
        seconds = _run(step, images, count, device) / count
        values: Values = {"ms": 1e3 * seconds, "images/s": 2 * batch / seconds, "timed": count}
        if flops:
            flop = sum(flops) / len(flops)
            values |= {"TFLOP": flop / 1e12, "of the fastest product": flop / seconds / rate}
        if device.type == "cuda":
            values["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
        return values | kernels(step, images, device, 1 if short else 2, longest)


def kernels(step: Step, images: Batch, device: torch.device, count: int, longest: Path) -> Values:
    """Kernels of an iteration and the time in which the GPU computes, by torch's profiler.

    Those that take longest are listed in a file: milliseconds and launches of an iteration, and the name.
    """
    # What the host does is left out: to note it takes longer than the iteration.
    with profile(activities=[ProfilerActivity.CUDA if device.type == "cuda" else ProfilerActivity.CPU]) as result:
        _run(step, images, count, device)
    events = [(event.name, float(event.device_time)) for event in result.events() if "CUDA" in str(event.device_type)]
    if events:
        longest.write_text("\n".join(_longest(events, count)) + "\n", encoding="utf-8")
    return {"kernels": len(events) // count, "busy ms": sum(time for _, time in events) / 1e3 / count}


def _longest(events: Iterable[tuple[str, float]], count: int) -> list[str]:
    times: dict[str, list[float]] = defaultdict(list)
    for name, microseconds in events:
        times[name].append(microseconds)
    ordered = sorted(times.items(), key=lambda item: -sum(item[1]))
    return [f"{sum(each) / 1e3 / count:8.3f} {len(each) / count:7.1f} {name[:160]}" for name, each in ordered[:SHOWN]]


def _run(step: Step, images: Batch, count: int, device: torch.device) -> float:
    """Seconds of some iterations, both branches in turn, with nothing waited for in between."""
    synchronize(device)
    began = time.perf_counter()
    for number in range(count):
        step(images, number % 2 == 0)
    synchronize(device)
    return time.perf_counter() - began
