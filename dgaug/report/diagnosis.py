"""`dgaug doctor --run`: what is wrong or odd with a run, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import normalise
from dgaug.data.recorded import read_run_data
from dgaug.data.records import IdentityData, class_names
from dgaug.device import AUTO, default_device, on_device
from dgaug.errors import DgaugError
from dgaug.files import read_json
from dgaug.models.checkpoints import load_generator, load_reid
from dgaug.report.curves import PhaseCurves, Points, read_curves
from dgaug.report.doctor import Finding
from dgaug.report.state import dgaug_command
from dgaug.runs import Run, find_run
from dgaug.settings import Settings
from dgaug.store.index import read_state
from dgaug.surroundings import as_found
from dgaug.synthesis.draw import generate_all, grid_records, pixels_of
from dgaug.training import schedule

DONORS, SAMPLE = 6, 64
"""Identities of the grid that is drawn, and training images that the teacher is asked about."""
COLLAPSED = 0.25
"""A donor changes generated images less than this share of what real images differ by: the code is ignored."""
WEAK = 0.5
"""Share of training images that a teacher must know for its soft labels to say much."""
ENDS, LEAST = 0.1, 20
"""Share of the log at either end that is compared, and the lines that it needs for that."""


@as_found
@on_device
def diagnose(run: str | Path = "latest", *, device: str = AUTO) -> list[Finding]:
    """What stands out in a run: its schedule, teacher, generated images, store and re-id models; changes nothing.

    `device` is `auto`, `cpu`, `cuda` or `cuda:N`. A part that is not there yet, or cannot be read, is a finding too.

    Raises:
        DgaugError: no such run, or its settings cannot be read.
    """
    chosen = find_run(str(run))
    settings = chosen.settings()
    parts: dict[str, Callable[[], Iterator[Finding]]] = {
        "training": lambda: _training(chosen, settings),
        "teacher": lambda: _teacher(chosen),
        "generated images": lambda: _images(chosen),
        "store": lambda: _store(chosen),
        "re-id": lambda: _reid(chosen),
    }
    return [finding for name, look in parts.items() for finding in _looked(name, look)]


def _looked(name: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except DgaugError as problem:
        found, _, remedy = str(problem).partition("; ")
        yield Finding(name, found, ok=False, remedy=remedy)
    except OSError as problem:
        yield Finding(name, f"{problem.strerror or problem}: {problem.filename or ''}", ok=False)


def _training(run: Run, settings: Settings) -> Iterator[Finding]:
    goes_on = dgaug_command("train", "--resume", "--out", run.folder)
    phases = {phase.phase: phase for phase in read_curves(run.log)}
    if "dgnet" not in phases:
        yield Finding("training", "DG-Net has no iteration yet", ok=False, remedy=goes_on)
        return
    planned, done = settings.schedule.iterations, phases["dgnet"].terms[0].iterations[1] + 1
    finished = done >= planned
    yield Finding("training", f"{done:,} of {planned:,} iterations", finished, "" if finished else goes_on)
    yield _ramps(settings, done)
    yield from _grown(phases["dgnet"])


def _ramps(settings: Settings, done: int) -> Finding:
    """Terms whose weight has not reached its maximum."""
    plan = settings.schedule
    now, full = (schedule.weights(settings.loss, plan, iteration) for iteration in (done - 1, 10 * plan.iterations))
    short = [f"{name} {now.get(name, 0):.2g} of {full[name]:.2g}" for name in full if now.get(name, 0) < full[name]]
    if not short:
        return Finding("weights of terms", "all have reached their maximum")
    remedy = "they rise later in the run: train on"
    if done >= plan.iterations:
        remedy = "more iterations, or an earlier rise: --set schedule.ramp_start=0.2 --set schedule.ramp_length=0.04"
    return Finding("weights of terms", ", ".join(short), ok=False, remedy=remedy)


def _grown(phase: PhaseCurves) -> Iterator[Finding]:
    """Reconstruction at the end against the beginning: it falls in every training that goes well."""
    for curve in (curve for chart in phase.terms for curve in chart.curves if curve.name == "reconstruction"):
        if len(curve.points) < LEAST:
            continue
        first, last = _mean(curve.points, end=False), _mean(curve.points, end=True)
        remedy = "it diverges: a smaller --set optimizer.generator=5e-5, or --set optimizer.clip=10, from the start"
        fine = last <= first
        yield Finding("reconstruction", f"{first:.3g} at first, {last:.3g} at last", fine, "" if fine else remedy)


def _mean(points: Points, *, end: bool) -> float:
    count = max(1, round(ENDS * len(points)))
    return fmean(value for _, value in (points[-count:] if end else points[:count]))


@torch.no_grad()
def _teacher(run: Run) -> Iterator[Finding]:
    """How many of a sample of training images the teacher knows; its soft labels are no better."""
    if not run.teacher.is_file():
        yield Finding("teacher", "none in this run")
        return
    teacher, data = load_reid(run.teacher), read_run_data(run)
    records = data.splits["train"]
    sample = [records[k] for k in np.linspace(0, len(records) - 1, min(SAMPLE, len(records))).astype(int)]
    pixels = np.stack([to_pixels(open_image(data.image_path(record)), teacher.image_size) for record in sample])
    network = teacher.network.to(default_device()).eval()
    logits = network(normalise(torch.from_numpy(pixels).to(default_device()))).logits[0]
    names = class_names(records)
    known = np.mean([names[k] == record.identity for k, record in zip(logits.argmax(1).tolist(), sample, strict=True)])
    found = f"knows {known:.0%} of {len(sample)} training images, chance {1 / len(names):.1%}"
    remedy = "its soft labels say little: train it longer, --set teacher.iterations=N, or take another, --teacher FILE"
    yield Finding("teacher", found, bool(known >= WEAK), "" if known >= WEAK else remedy)


def _images(run: Run) -> Iterator[Finding]:
    """How much each donor changes an image, beside how much real images differ."""
    model, data = load_generator(run.checkpoint).to(default_device()), read_run_data(run)
    donors = pixels_of(_files(data), model)
    drawn = generate_all(model, donors, donors).astype(np.float32)
    real = _differ(donors.astype(np.float32), 0)
    for what, axis, ignored in (("appearance", 0, "the clothes"), ("structure", 1, "the pose")):
        share = _differ(drawn, axis) / max(real, 1e-6)
        fine = share >= COLLAPSED
        remedy = f"the generator ignores {ignored}: train it longer, from --set model.start=none if it began collapsed"
        found = f"another {what} donor changes an image by {share:.0%} of what real images differ by"
        yield Finding(f"generated images, {what}", found, fine, "" if fine else remedy)


def _files(data: IdentityData) -> list[Path]:
    records = data.splits["train"]
    count = min(DONORS, len(class_names(records)))
    return [data.image_path(record) for record in grid_records(records, count=count, seed=0)]


def _differ(images: NDArray[np.float32], axis: int) -> float:
    """Mean deviation of a pixel along an axis, in grey levels."""
    return float(images.std(axis=axis).mean())


def _store(run: Run) -> Iterator[Finding]:
    state = read_state(run.store)
    if state is None:
        yield Finding("store", "none yet", remedy=dgaug_command("synthesize", "--run", run.folder))
        return
    again = dgaug_command("synthesize", "--run", run.folder, "--force")
    if run.checkpoint.is_file() and load_generator(run.checkpoint).sha256 != state.spec.generator_sha256:
        yield Finding("store", "made by another state of the generator than the checkpoint's", ok=False, remedy=again)
        return
    goes_on = "" if state.complete else dgaug_command("synthesize", "--run", run.folder)
    yield Finding("store", f"{state.count:,} images of this checkpoint", state.complete, goes_on)


def _try_of(run: Run) -> str:
    """The command that compares models on a run's data; where they have no test split, what makes one."""
    try:
        splits = read_run_data(run, run.settings().data, splits=()).splits
    except DgaugError:
        return dgaug_command("train-reid", "--run", run.folder)  # which says what is wrong with the data
    if not (splits.get("query") or splits.get("gallery")):
        manifest = run.data_root() / "held-out.csv"
        packed = dgaug_command("data", "pack", run.data_root(), "--hold-out", "N", "--out", manifest)
        return f"the data have no query and gallery: {packed} makes some, for a new run with --data {manifest}"
    return dgaug_command("train-reid", "--run", run.folder)


def _reid(run: Run) -> Iterator[Finding]:
    """Models fed with generated images against their twins of real images alone."""
    file = run.reid / "results.json"
    if not file.is_file():
        yield Finding("re-id", "not tried yet", remedy=_try_of(run))
        return
    differences = read_json(file).get("differences", {})
    for variant, metrics in differences.items():
        gain = metrics.get("mAP (sum, valid queries)", {})
        mean, low, high = (gain.get(key) for key in ("mean", "low", "high"))
        if not isinstance(mean, float) or not math.isfinite(mean):
            continue
        interval = "" if low is None else f", 95 % [{100 * low:+.1f}, {100 * high:+.1f}]"
        found = f"mAP (sum, valid queries) {100 * mean:+.1f} against “{variant}”, seeds {gain.get('seeds')}{interval}"
        remedy = "train-reid --set reid.ratio=0.5 feeds fewer, synthesize --min-confidence 0.5 surer ones"
        yield Finding("re-id", found, mean >= 0, "" if mean >= 0 else remedy)
