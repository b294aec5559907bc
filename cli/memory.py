"""Memory: how it is told that there is no more."""

from __future__ import annotations

import re


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
