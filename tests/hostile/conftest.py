from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from ledger import FULL, table
from tiny_run import Ended, RunCommand

LONGEST = 60.0
"""Seconds that no command on a small bad input may take."""


class Hung(BaseException):
    """A command did not come to its end."""


@pytest.fixture
def refused_or_done(dgaug: RunCommand) -> RunCommand:
    """Run a command in this process: it must end in time, with 0, 1 or 2, and say what it says in plain lines."""

    def run(*arguments: str | Path) -> Ended:
        with within(LONGEST):
            ended = dgaug(*arguments)
        require_plain(ended)
        return ended

    return run


def require_plain(ended: Ended) -> None:
    """An end as it may be: code 0, 1 or 2, the latter with one line; no traceback, no sign that moves a terminal."""
    assert ended.code in (0, 1, 2), ended
    if ended.code == 2:
        assert len(ended.error()) < 2000, ended.err
    assert "Traceback" not in ended.err
    for text in (ended.out, ended.err):
        assert all(sign.isprintable() or sign == "\n" for sign in text), text


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End a block that takes longer with `Hung`."""
    before = signal.signal(signal.SIGALRM, _hung)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _hung(_number: int, _frame: FrameType | None) -> None:
    raise Hung


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the table of the suite, and keep it where it is asked for."""
    if not FULL:
        return
    terminalreporter.write(table())
    if path := os.environ.get("DGAUG_HOSTILE_TABLE"):
        Path(path).write_text(table(), encoding="utf-8")
