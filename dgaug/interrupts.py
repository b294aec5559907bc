"""Stopping a long job in order: a signal sets a flag, the job saves and leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dgaug.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


ECHO = 1.0
"""Seconds in which more signals are the same request: after Ctrl-C, torchrun passes on what the terminal also sent."""


class StopRequest:
    """What arrived so far; a second signal interrupts at once."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._arrived = 0.0

    def __bool__(self) -> bool:
        return self.signal_number is not None

    def receive(self, signal_number: int, _frame: FrameType | None) -> None:
        """Signal handler."""
        now = time.monotonic()
        if self and now - self._arrived > ECHO:
            raise KeyboardInterrupt
        if not self:
            self.signal_number, self._arrived = signal_number, now

    def leave(self) -> None:
        """Raise `Interrupted` if a signal arrived; call it once everything is saved."""
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a flag for the length of a block (in the main thread; elsewhere nothing arrives)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.receive) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
