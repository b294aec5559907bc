"""Processes that wait at a point of their work until they are stopped there: what is stopped when depends on no clock.

A held process puts no further file in its place once enough files of a pattern are there. It waits for a signal, or
for a higher limit; after a signal it does what it does on signals.
"""

from __future__ import annotations

import atexit
import glob
import json
import os
import select
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from warm_processes import WarmProcess

VARIABLE = "DGAUG_HELD"


class Hold:
    """Wait once `limit` files of a pattern are there; any process may be told so by its environment."""

    def __init__(self, pattern: str | Path, limit: int = 1) -> None:
        self._pattern = os.fspath(pattern)
        self._folder = Path(tempfile.mkdtemp(prefix="held-"))
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)  # a process may look longer than this lives
        self.allow(limit)

    @property
    def text(self) -> str:
        """For `hold`."""
        return json.dumps([self._pattern, os.fspath(self._folder)])

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is started from nothing, and all that it starts."""
        here = Path(__file__).parent
        return {VARIABLE: self.text, "PYTHONPATH": ":".join(map(str, [here / "held_site", here]))}

    def allow(self, limit: int) -> None:
        """Let so many files be there before the processes wait."""
        aside = self._folder / "aside"
        aside.write_text(str(limit), encoding="utf-8")
        aside.replace(self._folder / "limit")

    def is_held(self) -> bool:
        """Whether a process waits, or has waited."""
        return any(self._folder.glob("held-*"))


def hold(text: str) -> None:
    """Have this process wait where `Hold` says; call it in the main thread."""
    pattern, folder = json.loads(text)
    signalled, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    state = {"looking": True}

    def enough() -> bool:
        with open(f"{folder}/limit", encoding="utf-8") as limit:
            return len(glob.glob(pattern)) >= int(limit.read())

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if not state["looking"] or not _writes(event, arguments):
            return
        state["looking"] = False  # what follows opens files itself
        if enough():
            open(f"{folder}/held-{os.getpid()}", "w", encoding="utf-8").close()
            while enough():
                if select.select([signalled], [], [], 0.01)[0]:
                    return
        state["looking"] = True

    sys.addaudithook(look)


def _writes(event: str, arguments: tuple[Any, ...]) -> bool:
    return event == "os.rename" or (event == "open" and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)))


def run_held(text: str, *arguments: str) -> None:
    """A `dgaug` command that is held, to its exit."""
    from warm_processes import run_command

    hold(text)
    run_command(*arguments)


def start_held(where: Hold, *arguments: str | Path) -> WarmProcess:
    """A `dgaug` process that waits where it is held."""
    from warm_processes import WarmProcess

    return WarmProcess(run_held, where.text, *map(str, arguments))
