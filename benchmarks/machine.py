"""What measured figures belong to: the machine, and the fastest that it can do."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

ROUNDS = 5
MATRIX_SIDE = {"cpu": 2048, "cuda": 8192}
MAPS = {"cpu": (8, 256, 64, 32), "cuda": (64, 256, 64, 64)}
DISK_BYTES, BLOCK = 1 << 30, 1 << 20


def machine(*packages: str, device: torch.device | None = None) -> str:
    """Device, threads, and versions of Python, torch and some packages."""
    on_gpu = device is not None and device.type == "cuda"
    threads = "" if on_gpu else f", {torch.get_num_threads()} threads"
    versions = "".join(f", {name} {importlib.metadata.version(name)}" for name in packages)
    name = torch.cuda.get_device_name(device) if on_gpu else _processor()
    return f"{name}{threads}; torch {torch.__version__}, Python {platform.python_version()}{versions}"


def product_rate(device: torch.device, precision: torch.dtype) -> float:
    """Floating-point operations per second of the fastest dense product found here, with torch's threads.

    The best of a matrix product and of a 3 x 3 convolution over 256 channels: they come from different libraries, and
    either may be the slower one.
    """
    side, (images, channels, height, width) = MATRIX_SIDE[device.type], MAPS[device.type]
    left, right = torch.randn(2, side, side, device=device, dtype=precision)
    maps = torch.randn(images, channels, height, width, device=device, dtype=precision)
    maps = maps.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(channels, channels, 3, 3, device=device, dtype=precision)
    with torch.no_grad():
        return max(
            2 * side**3 / _fastest(lambda: left @ right, device),
            2 * maps.numel() * kernel[0].numel() / _fastest(lambda: functional.conv2d(maps, kernel, padding=1), device),
        )


def disk_rate(folder: Path) -> float:
    """Bytes per second of a large file written from beginning to end, until they are on the disk."""
    path, block = folder / "disk", os.urandom(BLOCK)

    def write() -> None:
        with path.open("wb") as file:
            for _ in range(DISK_BYTES // BLOCK):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    try:
        return DISK_BYTES / min(_seconds(write) for _ in range(3))
    finally:
        path.unlink(missing_ok=True)


def peak_bytes(device: torch.device | None = None) -> int:
    """The most memory that this process has held; on a GPU, of the card's.

    Not what getrusage says, which begins with what the process that started this one held.
    """
    if device is not None and device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def synchronize(device: torch.device) -> None:
    """Wait for what a GPU still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    def whole() -> None:
        work()
        synchronize(device)

    whole()
    return min(_seconds(whole) for _ in range(ROUNDS))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
