"""Stopping a long job in order: a signal sets a flag, the job saves and leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dgaug.errors import Interrupted

Handler = Callable[[int, "FrameType | None"], None]

ECHO = 1.0
"""Seconds in which more signals are the same request: after Ctrl-C, torchrun passes on what the terminal also sent."""


class Stopped(BaseException):
    """A signal that ends the command at once, as KeyboardInterrupt does; what was finished before it is on disk."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class StopRequest:
    """The signal that arrived, if any; a second signal interrupts at once."""

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._arrived = 0.0

    def __bool__(self) -> bool:
        return self.signal_number is not None

    def receive(self, signal_number: int, _frame: FrameType | None) -> None:
        """Signal handler."""
        now = time.monotonic()
        if self and now - self._arrived > ECHO:
            _stop(signal_number)
        if not self:
            self.signal_number, self._arrived = signal_number, now

    def leave(self) -> None:
        """Raise `Interrupted` if a signal arrived; call it once everything is saved."""
        if self.signal_number is not None:
            raise Interrupted(self.signal_number)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into a flag for the length of a block."""
    request = StopRequest()
    with _handling(request.receive):
        yield request


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Stopped` for the length of a block; inside it `stop_requests` has precedence."""
    with _handling(_stop):
        yield


def _stop(signal_number: int, _frame: FrameType | None = None) -> None:
    raise KeyboardInterrupt if signal_number == signal.SIGINT else Stopped(signal_number)


@contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    """Install a handler and put back what was there; only the main thread receives signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _signals()}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _signals() -> list[int]:
    """What asks a process to end; a hang-up only if nobody (nohup) chose to ignore it."""
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
    return numbers
