"""Threads that read ahead: in order, bounded, with the errors of a reader, and gone when they are closed."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch

from dgaug.data import loading
from dgaug.data.loading import AHEAD, default_threads, loaded
from dgaug.errors import DgaugError


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dgaug-reader"]


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def read(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    with closing(loaded(read, range(40), threads=threads)) as results:
        assert list(results) == [number * number for number in range(40)]
    assert readers() == []


@pytest.mark.parametrize("threads", [1, 4])
def test_an_endless_order_is_read_only_so_far_ahead(threads: int) -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            asked.append(number)
            yield number

    with closing(loaded(lambda number: number, items(), threads=threads)) as results:
        assert [next(results) for _ in range(10)] == list(range(10))
        assert len(asked) == 10 + AHEAD * threads
        assert len(readers()) == threads
    assert readers() == []


@pytest.mark.parametrize("threads", [0, 2])
def test_what_a_reader_raises_is_raised_for_its_item_with_its_own_words(threads: int) -> None:
    def read(number: int) -> int:
        if number == 3:
            raise DgaugError("image 3 is damaged")
        return number

    with closing(loaded(read, range(9), threads=threads)) as results:
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(DgaugError, match=r"^image 3 is damaged$"):
            next(results)
    assert readers() == []


def test_even_the_end_of_a_thread_is_no_endless_wait() -> None:
    def read(_: int) -> int:
        raise SystemExit(1)

    with closing(loaded(read, range(9), threads=2)) as results, pytest.raises(SystemExit):
        next(results)


def test_items_are_asked_for_in_the_callers_thread() -> None:
    asking = set()

    def items() -> Iterator[int]:
        for number in range(20):
            asking.add(threading.current_thread())
            yield number

    assert list(loaded(lambda number: number, items(), threads=3)) == list(range(20))
    assert asking == {threading.current_thread()}


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_caller_ends_the_threads(interruption: type[BaseException]) -> None:
    def job() -> None:
        with closing(loaded(lambda number: number, itertools.count(), threads=3)) as results:
            for number in results:
                if number == 5:
                    raise interruption

    with pytest.raises(interruption):
        job()
    assert readers() == []


def test_a_read_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "CLOSING_SECONDS", 0.1)
    release = threading.Event()

    def read(number: int) -> int:
        if number:
            release.wait()
        return number

    results = loaded(read, range(3), threads=2)
    assert next(results) == 0
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 5
    assert all(reader.daemon for reader in readers())
    release.set()
    for reader in readers():
        reader.join(5)
    assert readers() == []


@pytest.mark.parametrize("given", [0, 1])
def test_with_fewer_threads_than_asked_for_those_there_read(monkeypatch: pytest.MonkeyPatch, given: int) -> None:
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if len(started) >= given:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with closing(loaded(lambda number: -number, range(12), threads=4)) as results:
        assert list(results) == [-number for number in range(12)]
    assert len(started) == given


def test_beside_a_cpu_nothing_reads_ahead_by_default() -> None:
    assert default_threads(torch.device("cpu")) == 0
    assert 1 <= default_threads(torch.device("cuda")) <= 8
