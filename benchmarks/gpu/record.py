"""What was measured so far, written anew after every line, and the time that is left."""

from __future__ import annotations

import json
import re
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Values = dict[str, Any]


class Record:
    """The results of one call, in `NAME.json` and `NAME.md`; whatever ends the call, what was measured stays."""

    def __init__(self, folder: Path, name: str, about: Values, minutes: float, lines: str = "") -> None:
        self._lines = re.compile(lines)
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / name
        self.content: dict[str, Any] = {"about": about, "steps": {}, "notes": []}
        self._until = time.monotonic() + 60 * minutes
        self._write()

    @property
    def seconds_left(self) -> float:
        """Until the call should end."""
        return self._until - time.monotonic()

    def note(self, text: str) -> None:
        """A line for the reader."""
        self.content["notes"].append(text)
        print(text, flush=True)
        self._write()

    def add(self, step: str, line: str, values: Values) -> None:
        """One measured line of a step."""
        self.content["steps"].setdefault(step, {})[line] = values
        told = ", ".join(f"{name} {_cell(value)}" for name, value in values.items())
        print(f"[{self.seconds_left:4.0f} s left] {step}: {line}: {told}", flush=True)
        self._write()

    def measure(self, step: str, line: str, work: Callable[[], Values], *, needs: float) -> None:
        """Measure a line that is wanted and has `needs` seconds left; what goes wrong or takes too long is a note."""
        if not self._lines.search(line):
            return
        if self.seconds_left < needs:
            self.note(f"{step}: {line}: left out, it needs about {needs:.0f} s and {self.seconds_left:.0f} s are left")
            return
        began = time.monotonic()
        try:
            with _interrupted_after(self.seconds_left):
                values = work()
        except BaseException as error:
            # A line that fails must not cost those that follow; Ctrl-C of a person and a lack of time end it too.
            reason = "time is up" if self.seconds_left < 1 else "".join(traceback.format_exception(error)[-3:]).strip()
            self.note(f"{step}: {line}: {type(error).__name__}: {reason[-1500:]}")
            if isinstance(error, KeyboardInterrupt) and self.seconds_left >= 1:
                raise
            return
        self.add(step, line, values | {"took_s": time.monotonic() - began})

    def _write(self) -> None:
        self.file.with_suffix(".json").write_text(json.dumps(self.content, indent=2) + "\n", encoding="utf-8")
        self.file.with_suffix(".md").write_text(self._page(), encoding="utf-8")

    def _page(self) -> str:
        about = "; ".join(f"{name} {value}" for name, value in self.content["about"].items())
        lines = [f"# {self.file.name}", "", about, ""]
        for step, result in self.content["steps"].items():
            columns = list(dict.fromkeys(name for values in result.values() for name in values))
            lines += [f"## {step}", "", f"| | {' | '.join(columns)} |", "|---" + "|---:" * len(columns) + "|"]
            for line, values in result.items():
                lines.append(f"| {line} | {' | '.join(_cell(values.get(name, '')) for name in columns)} |")
            lines.append("")
        lines += [f"- {note.splitlines()[0]}" for note in self.content["notes"]]
        return "\n".join([*lines, ""])


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Ctrl-C when time is up: dgaug saves what it has, anything else stops."""

    def ring(_number: int, _frame: object) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(1.0, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
