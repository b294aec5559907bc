"""Making the generated batch of the next iteration while this one is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from dgaug.training.reid_terms import Feed, GeneratedBatch


@contextmanager
def ahead_of(feed: Feed | None, device: torch.device) -> Iterator[Feed | None]:
    """The same feed, its next batch made in a thread; beside a CPU, which has no time to spare, the feed itself.

    Only that thread touches the feed, and it ends with the block.
    """
    if feed is None or device.type == "cpu":
        yield feed
        return
    with ThreadPoolExecutor(1) as thread:
        yield _Ahead(feed, thread)


class _Ahead:
    def __init__(self, feed: Feed, thread: ThreadPoolExecutor) -> None:
        self._feed = feed
        self._thread = thread
        self._made: dict[int, Future[GeneratedBatch]] = {}

    def __call__(self, iteration: int) -> GeneratedBatch:
        for wanted in (iteration, iteration + 1):
            if wanted not in self._made:
                self._made[wanted] = self._thread.submit(self._feed, wanted)
        return self._made.pop(iteration).result()
