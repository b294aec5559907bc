"""`dgaug doctor`: what this machine has for making runs, what is missing, and the remedy."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, resources, util
from pathlib import Path

from dgaug.device import usable_cuda, why_no_cuda
from dgaug.memory import memory_limit
from dgaug.presets import preset_names
from dgaug.runs import RUNS, Run, numbered_runs
from dgaug.settings import load_settings
from dgaug.surroundings import as_found

PACKAGES = ("dgaug", "torch", "torchvision", "timm", "accelerate", "numpy", "h5py", "pillow", "pytorch-fid")
EXTRAS = {"ray": "ray", "onnx": "onnxruntime"}
"""By extra of dgaug, the package that it is for."""
OF_TORCHVISION = "resnet50"
OWN_BACKBONES = ("small",)
ENOUGH_DISK, ENOUGH_SHARED = 5 * 2**30, 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what.
        found: what is there, or where it was looked for.
        ok: whether it is there, and enough.
        remedy: what to do where it is not; empty where nothing is needed.
    """

    name: str
    found: str
    ok: bool = True
    remedy: str = ""


@dataclass(frozen=True)
class FoundRun:
    """A run, and which parts of the main job it has."""

    folder: str
    trained: bool
    store: bool
    scored: bool
    reid: bool
    report: bool


@dataclass(frozen=True)
class Examination:
    """All that was found."""

    versions: dict[str, str]
    machine: list[Finding]
    weights: list[Finding]
    extras: list[Finding]
    runs: list[FoundRun]


@as_found
def examine(runs: str | Path = RUNS) -> Examination:
    """Look at versions, device, cores, memory, disk, weights and the runs in a folder; changes and fetches nothing."""
    return Examination(
        {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        list(_machine()),
        [*_weights(), *_timm_weights()],
        [_extra(name, package) for name, package in EXTRAS.items()],
        [_run(Run(folder)) for folder in numbered_runs(Path(runs))],
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _machine() -> Iterator[Finding]:
    import psutil
    import torch

    yield Finding("system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    if usable_cuda():
        properties = torch.cuda.get_device_properties(0)
        others = f", and {torch.cuda.device_count() - 1} more" if torch.cuda.device_count() > 1 else ""
        yield Finding("device", f"{properties.name}, {_size(properties.total_memory)}{others}")
    elif "too old" in (reason := why_no_cuda()):
        problem, remedy = reason.split("; ", 1)
        yield Finding("device", f"CPU ({problem})", ok=False, remedy=remedy)
    else:
        build = "a build without CUDA" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
        remedy = "the presets toy and market1501-cpu are made for it"
        if torch.version.cuda is None:
            remedy += "; pytorch.org names the builds for a GPU"
        yield Finding("device", f"CPU (no GPU found; torch is {build})", remedy=remedy)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cores", f"{cores} usable, torch computes with {torch.get_num_threads()} threads")
    memory = psutil.virtual_memory()
    yield Finding("memory", f"{_size(memory.available)} free of {_size(min(memory.total, memory_limit()))}")
    yield _room("disk", Path.cwd(), ENOUGH_DISK, "free some space, or give --out on another disk")
    if Path("/dev/shm").is_dir():
        remedy = "start the container with more (docker run --shm-size 8g); several GPUs and --engine ray use it"
        yield _room("shared memory", Path("/dev/shm"), ENOUGH_SHARED, remedy)


def _room(name: str, path: Path, enough: int, remedy: str) -> Finding:
    usage = shutil.disk_usage(path)
    ok = usage.free >= enough
    return Finding(name, f"{_size(usage.free)} free of {_size(usage.total)} at {path}", ok, "" if ok else remedy)


def _weights() -> Iterator[Finding]:
    from dgaug.models.weights import RESNET50_URL, hub_cache
    from dgaug.scores.quality.encoders import INCEPTION_URL
    from dgaug.training.initial_weights import SHIPPED

    generator = Path(str(resources.files("dgaug_configs"))) / SHIPPED
    yield _file("generator of the embedded data", generator, "install dgaug again: it ships with it")
    fetched = "dgaug score-fid --inception-weights download fetches it"
    yield _file("FID Inception", hub_cache(INCEPTION_URL), f"{fetched}, or put {INCEPTION_URL} there")
    fetched = "dgaug train --set model.weights=download fetches it"
    yield _file("ResNet-50, ImageNet", hub_cache(RESNET50_URL), f"{fetched}, =none starts from random weights")


def _timm_weights() -> Iterator[Finding]:
    """Those that presets ask for, and whatever else of timm is in the cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    cached = {
        folder.name.removeprefix("models--timm--"): folder
        for folder in sorted(Path(HF_HUB_CACHE).glob("models--timm--*"))
        if any(folder.glob("snapshots/*/model.safetensors"))
    }
    asked: dict[str, list[str]] = {}
    for preset in preset_names():
        backbone = load_settings(preset).model.backbone
        if backbone not in (OF_TORCHVISION, *OWN_BACKBONES):
            asked.setdefault(backbone, []).append(preset)
    for backbone, presets in asked.items():
        name = f"{backbone}, ImageNet (preset {', '.join(presets)})"
        problem = [model for model in cached if model.split(".")[0] == backbone]
        if problem:
            yield Finding(name, str(cached.pop(problem[0])))
        else:
            remedy = f"dgaug train --config {presets[0]} --set model.weights=download fetches it, =FILE names another"
            yield Finding(name, f"not in {HF_HUB_CACHE}", ok=False, remedy=remedy)
    yield from (Finding(f"{model} (timm)", str(folder)) for model, folder in cached.items())


def _file(name: str, path: Path, remedy: str) -> Finding:
    if path.is_file():
        return Finding(name, f"{path}, {_size(path.stat().st_size)}")
    return Finding(name, f"not at {path}", ok=False, remedy=remedy)


def _extra(name: str, package: str) -> Finding:
    if util.find_spec(package) is not None:
        return Finding(name, f"{package} {_version(package)}")
    return Finding(name, f"{package} is not installed", ok=False, remedy=f"pip install 'dgaug[{name}]'")


def _run(run: Run) -> FoundRun:
    files = run.checkpoint, run.store / "dataset.h5", run.scores / "scores.json", run.reid / "results.json"
    return FoundRun(str(run.folder), *(file.is_file() for file in (*files, run.folder / "report.html")))


def _size(count: float) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
