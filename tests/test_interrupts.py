"""Signals become a request to stop; an impatient second one stops at once, as any does where nothing can be saved."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tiny_run import RunCommand

from dgaug.errors import Interrupted
from dgaug.interrupts import ECHO, Stopped, stop_requests, stopping_at_once


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_waits_until_the_job_leaves(number: int) -> None:
    with stop_requests() as stop:
        stop.leave()
        os.kill(os.getpid(), number)
        assert stop
        with pytest.raises(Interrupted) as interrupted:
            stop.leave()
    assert interrupted.value.signal_number == number


def test_an_echo_of_the_same_request_changes_nothing_and_a_later_signal_stops_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_number == signal.SIGINT
        now[0] = ECHO + 0.05
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.signal_number == signal.SIGTERM


def test_outside_of_a_block_that_saves_a_signal_stops_at_once() -> None:
    with stopping_at_once():
        with stop_requests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal_number == signal.SIGHUP
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGHUP)


def test_a_hang_up_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_at_once(), stop_requests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_requests():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_command_stopped_before_it_works_ends_in_a_line(
    number: int, code: int, tmp_path: Path, tiny_config: Path, dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dgaug.training.train._prepare", lambda *_, **__: os.kill(os.getpid(), number))
    ended = dgaug("train", "--config", tiny_config, "--out", tmp_path / "run")
    assert ended.code == code
    assert ended.err.strip().splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in ended.err
