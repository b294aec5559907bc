"""What measured figures belong to."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import torch


def machine(*packages: str, device: torch.device | None = None) -> str:
    """Device, threads, and versions of Python, torch and some packages."""
    on_gpu = device is not None and device.type == "cuda"
    threads = "" if on_gpu else f", {torch.get_num_threads()} threads"
    versions = "".join(f", {name} {importlib.metadata.version(name)}" for name in packages)
    name = torch.cuda.get_device_name(device) if on_gpu else _processor()
    return f"{name}{threads}; torch {torch.__version__}, Python {platform.python_version()}{versions}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
