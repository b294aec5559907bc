"""Output to the terminal: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from dgaug.progress import Progress as Listener
from dgaug.progress import silent
from dgaug.visible import visible

RESULTS = Console(markup=False, emoji=False)
NOTES = Console(stderr=True, markup=False, emoji=False)
_PLAIN_EVERY = 10.0
"""Seconds between progress lines where there is no terminal."""


def speak_as(rank: int) -> None:
    """Print results and notes on rank 0 only; the other ranks print only errors."""
    RESULTS.quiet = NOTES.quiet = rank > 0


@contextmanager
def progress_shown(*, lines: bool = True) -> Iterator[Listener]:
    """A progress listener: bars on a terminal; elsewhere a line every few seconds, or with `lines` false none."""
    log = logging.getLogger("dgaug")
    log.setLevel(logging.INFO)
    for handler in [handler for handler in log.handlers if isinstance(handler, NoteHandler)]:
        log.removeHandler(handler)
    log.addHandler(NoteHandler())
    if not NOTES.is_terminal:
        yield PlainProgress() if lines else silent
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[values]}"),
        console=NOTES,
    ) as bars:
        yield BarProgress(bars)


class NoteHandler(logging.Handler):
    """Prints the log messages of the library as notes, each once in a command of several stages."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message as one line."""
        message = self.format(record)
        if message not in self._said:
            self._said.add(message)
            note(message)


class BarProgress:
    """One bar per title."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, int] = {}

    def __call__(self, title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title not in self._tasks or done < self._bars.tasks[self._tasks[title]].completed:
            self._tasks[title] = self._bars.add_task(title, total=total, rate="", values="")
        task = self._bars.tasks[self._tasks[title]]
        rate = f"{task.speed:,.1f}/s" if task.speed else ""
        self._bars.update(task.id, completed=done, total=total, rate=rate, values=_values(values))


class PlainProgress:
    """A line at the start, then every few seconds, then at the end of each title."""

    def __init__(self) -> None:
        self._title = ""
        self._began = self._shown = 0.0
        self._first = 0

    def __call__(self, title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        now = time.monotonic()
        if title != self._title:
            self._title, self._began, self._first = title, now, done
        elif now - self._shown < _PLAIN_EVERY and done < total:
            return
        self._shown = now
        rate = (done - self._first) / (now - self._began) if now > self._began else 0.0
        left = f", {rate:,.1f}/s, {(total - done) / rate:,.0f} s left" if rate > 0 else ""
        note(f"{title}: {done:,}/{total:,}{left} {_values(values)}".rstrip())


def note(*lines: str) -> None:
    """Print lines on stderr; control characters in names are escaped."""
    NOTES.print("\n".join(map(visible, lines)), highlight=False, soft_wrap=True)


def show_json(content: object) -> None:
    """The one JSON object of `--json`, on stdout."""
    RESULTS.print(json.dumps(content, indent=2), highlight=False, soft_wrap=True)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A result table on stdout; numbers right-aligned."""
    table = Table(title=visible(title), title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and not isinstance(rows[0][index], str)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    RESULTS.print(table)


def _cell(value: object) -> str:
    return (
        f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else visible(str(value))
    )


def _values(values: Mapping[str, float] | None) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in (values or {}).items())
