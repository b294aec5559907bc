"""Reading ahead: threads of this process read items while the caller works on earlier ones.

Pillow decodes and resizes without the interpreter's lock, so threads read side by side. They need no shared memory, no
socket and no second import of the caller's script, as processes would.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from queue import SimpleQueue
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 8
AHEAD = 2
"""Items that each thread may have read before they are asked for."""
CLOSING_SECONDS = 10.0
"""How long closing waits for reads under way; one that hangs, on a network file system, is left behind."""


def default_threads(device: torch.device) -> int:
    """Threads that keep a device busy: none beside a CPU that computes on all its cores."""
    return 0 if device.type == "cpu" else min(MOST_THREADS, os.cpu_count() or 1)


def loaded(read: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Generator[Result, None, None]:
    """What `read` gives for each item, in their order; `items` may be endless and is used in the caller's thread alone.

    Args:
        read: called from several threads at a time; what it raises is raised here, when that item is its turn.
        items: what to read.
        threads: how many read beside the caller; 0: the caller reads each item when it asks for it. Where the system
            starts fewer threads than that, those read.

    Close it when it is no longer needed: that ends the threads.
    """
    tasks: SimpleQueue[tuple[Item, Future[Result]] | None] = SimpleQueue()
    readers = _started(threads, read, tasks)
    if not readers:
        yield from map(read, items)
        return

    def begun() -> Iterator[Future[Result]]:
        for item in items:
            future: Future[Result] = Future()
            tasks.put((item, future))
            yield future

    try:
        with closing(in_order(begun(), ahead=AHEAD * len(readers))) as results:
            yield from results
    finally:
        for _ in readers:
            tasks.put(None)
        until = time.monotonic() + CLOSING_SECONDS
        for reader in readers:
            reader.join(max(0.0, until - time.monotonic()))


def in_order(futures: Iterable[Future[Result]], *, ahead: int) -> Generator[Result, None, None]:
    """The results of futures, in their order; at most so many are begun (taken) before they are asked for."""
    waiting: deque[Future[Result]] = deque()
    try:
        for future in futures:
            waiting.append(future)
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _started(
    count: int, read: Callable[[Item], Result], tasks: SimpleQueue[tuple[Item, Future[Result]] | None]
) -> list[threading.Thread]:
    readers: list[threading.Thread] = []
    for _ in range(count):
        # A daemon, so that a read that hangs does not keep the process from ending.
        reader = threading.Thread(target=_read_all, args=(read, tasks), name="dgaug-reader", daemon=True)
        try:
            reader.start()
        except RuntimeError:  # the system gives no more threads
            break
        readers.append(reader)
    return readers


def _read_all(read: Callable[[Item], Result], tasks: SimpleQueue[tuple[Item, Future[Result]] | None]) -> None:
    while (task := tasks.get()) is not None:
        item, future = task
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(read(item))
            except BaseException as error:
                future.set_exception(error)
        # Else the last batch of a thread that waits would stay in memory.
        del task, item, future
