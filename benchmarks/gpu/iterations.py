"""Step 2: one training iteration, the published form against dgaug's, each in the ways that it can be computed."""

from __future__ import annotations

import gc
import time
from functools import partial

import torch
from machine import product_rate, synchronize
from operations import watched
from record import Record, Values
from torch.profiler import ProfilerActivity, profile
from training_iteration import Step, make_batch, make_networks, make_step, settings_of

from dgaug.cuda_math import training_math
from dgaug.training.losses import Batch

STEP = "iteration"
WARM, TIMED = 10, 40
WAYS: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    "published form, fp32": ("restated", False, ()),
    "published form, TF32": ("restated", True, ()),
    "dgaug, the same work, fp32": ("fp32", False, ()),
    "dgaug, the same work, TF32": ("fp32", True, ()),
    "dgaug, the same work, bf16": ("bf16", True, ()),
    "dgaug's defaults, bf16": ("defaults", True, ()),
    "dgaug's defaults, bf16, graphs": ("defaults", True, ("behaviour.graphs=true",)),
    "dgaug's defaults, bf16, compiled": ("compiled", True, ()),
}
"""By name: the contender of training_iteration.py, whether TF32 is on, and further settings."""


def time_iterations(record: Record, device: torch.device, *, size: tuple[int, int], batch: int, short: bool) -> None:
    """All lines of the step; `short`: a few iterations, as a rehearsal."""
    half = torch.bfloat16 if device.type == "cuda" else torch.float32
    rate = product_rate(device, half)
    record.add(STEP, "fastest dense product", {"TFLOP/s": rate / 1e12})
    for name, (contender, tf32, more) in WAYS.items():
        if short and contender == "compiled":
            record.note(f"{STEP}: {name}: left out of a rehearsal, a compilation takes minutes on a CPU")
            continue
        work = partial(way, contender, device, tf32=tf32, more=more, size=size, batch=batch, rate=rate, short=short)
        record.measure(STEP, name, work, needs=10 if short else 120 if contender == "compiled" else 30)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def way(
    contender: str,
    device: torch.device,
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
        eager = contender != "compiled" and not more
        branches = () if not eager else (True,) if short else (True, False)
        flops = [watched(partial(step, images, learns), device)["flop"] for learns in branches]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        _run(step, images, 0 if short else WARM, device)
        count = 1 if short else TIMED
        seconds = _run(step, images, count, device) / count
        values: Values = {"ms": 1e3 * seconds, "images/s": 2 * batch / seconds}
        if flops:
            flop = sum(flops) / len(flops)
            values |= {"TFLOP": flop / 1e12, "of the fastest product": flop / seconds / rate}
        if device.type == "cuda":
            values["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
        return values | kernels(step, images, device, 1 if short else 2)


def kernels(step: Step, images: Batch, device: torch.device, count: int) -> Values:
    """Kernels of an iteration and the time in which the GPU computes, by torch's profiler."""
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as result:
        _run(step, images, count, device)
    events = [event for event in result.events() if str(event.device_type).endswith("CUDA")]
    busy = sum(getattr(event, "device_time", getattr(event, "cuda_time", 0.0)) for event in events)
    return {"kernels": len(events) // count, "busy ms": busy / 1e3 / count}


def _run(step: Step, images: Batch, count: int, device: torch.device) -> float:
    """Seconds of some iterations, both branches in turn, with nothing waited for in between."""
    synchronize(device)
    began = time.perf_counter()
    for number in range(count):
        step(images, number % 2 == 0)
    synchronize(device)
    return time.perf_counter() - began
