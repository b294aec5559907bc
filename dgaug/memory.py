"""Memory: how much is free, and how a process treats what it has freed."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


def keep_freed_memory() -> None:
    """Stop glibc from handing large freed buffers back to the system, which then faults in every page again.

    For a notebook or a script, before it computes on a CPU; every dgaug command does it. It holds for the whole
    process and changes no result. One arena for all threads: those of other threads never keep a buffer of more than
    64 MB. Does nothing where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_ARENA_MAX, 1)


def memory_limit() -> float:
    """Bytes that a container may use; infinite where there is no limit."""
    try:
        return float((_CGROUP / "memory.max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return float("inf")


def free_memory() -> int:
    """Bytes that are free on the machine, or in the container where it has less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return free
    # What the system keeps of files it gives back when it is asked.
    left = memory_limit() - used + int(counts.get("inactive_file", 0))
    return max(0, int(min(free, left)))


def peak_memory() -> int:
    """The most bytes of memory that this process has held so far."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        # What a process was started from counts here, so it is second choice.
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
