"""How a process treats the memory that it has freed."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT = 1 << 30


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
