"""What a command on bad input may do: end in time, in plain lines."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tiny_run import Ended

LONGEST = 60.0
"""Seconds of processor time that no command on a small bad input may take: how busy the machine is changes nothing."""
WAITING = 3600.0
"""Seconds after which a block that computes nothing waits for what never comes."""


class Hung(BaseException):
    """A command did not come to its end."""


@contextmanager
def within(seconds: float = LONGEST) -> Iterator[None]:
    """End a block that takes more processor time with `Hung`."""
    before = {number: signal.signal(number, _hung) for number in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _hung(_number: int, _frame: FrameType | None) -> None:
    raise Hung


def require_plain(ended: Ended) -> None:
    """An end as it may be: code 0, 1 or 2, the latter with one line; no traceback, no sign that moves a terminal."""
    assert ended.code in (0, 1, 2), ended
    if ended.code == 2:
        assert len(ended.error()) < 2000, ended.err
    assert "Traceback" not in ended.err
    for text in (ended.out, ended.err):
        assert all(sign.isprintable() or sign == "\n" for sign in text), text
