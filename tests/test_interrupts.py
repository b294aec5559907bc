"""Signals become a request to stop; an impatient second one stops at once."""

from __future__ import annotations

import os
import signal
import time

import pytest

from dgaug.errors import Interrupted
from dgaug.interrupts import ECHO, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_the_job_leaves(number: int) -> None:
    with stop_requests() as stop:
        stop.leave()
        os.kill(os.getpid(), number)
        assert stop
        with pytest.raises(Interrupted) as interrupted:
            stop.leave()
    assert interrupted.value.signal_number == number


def test_an_echo_of_the_same_request_changes_nothing_and_a_later_signal_stops_at_once() -> None:
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGINT
        time.sleep(ECHO + 0.05)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_requests():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
