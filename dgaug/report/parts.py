"""A part of the report: made, or missing with the reason and the command that makes it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dgaug.errors import DgaugError

Part = TypeVar("Part")


@dataclass(frozen=True)
class Missing:
    """What stands in the place of a part that cannot be shown: why, and the command to run (empty: none)."""

    reason: str
    command: str = ""


def made_or_missing(make: Callable[[], Part | Missing], *, command: str) -> Part | Missing:
    """The part, or why bad input keeps it from being made."""
    try:
        return make()
    except DgaugError as error:
        return Missing(str(error), command)
    except OSError as error:
        return Missing(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), command)


def dgaug_command(*words: str | Path) -> str:
    """A `dgaug` command line as a shell takes it."""
    return shlex.join(["dgaug", *map(str, words)])
