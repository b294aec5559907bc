"""Memory: what the C library keeps of it, and how it is told that there is no more."""

from __future__ import annotations

import ctypes
import re
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_KEPT = 1 << 30


def keep_freed_memory() -> None:
    """Stop glibc from handing large freed buffers back to the system, which then faults in every page again.

    One arena for all threads: those of other threads never keep a buffer of more than 64 MB.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_ARENA_MAX, 1)


def ran_out(error: MemoryError | RuntimeError) -> str | None:
    """What was asked for of memory that is not there, on the machine or on an accelerator; None for another error."""
    text = str(error)
    # PyTorch tells it of a CPU in words only, and of an accelerator by a type that is not worth importing here.
    words = ("can't allocate memory", "std::bad_alloc", "can't start new thread")
    if not (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(word in text for word in words)
    ):
        return None
    asked = re.search(r"allocate \d[\d.]* ?\w+", text)
    return asked[0].replace("allocate", "for", 1) if asked else "for what was asked"
