"""Making the generated batch of the next iteration while this one is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from dgaug.training.reid_terms import Feed, GeneratedBatch


@contextmanager
def ahead_of(feed: Feed | None, device: torch.device) -> Iterator[Feed | None]:
    """The same feed, its next batch made in a thread and, on CUDA, on a stream; beside a CPU the feed itself.

    A CPU has no time to spare. Only that thread touches the feed, and it ends with the block.
    """
    if feed is None or device.type == "cpu":
        yield feed
        return
    with ThreadPoolExecutor(1) as thread:
        yield _Ahead(feed, thread, device)


_Made = tuple[GeneratedBatch, "torch.cuda.Event | None"]
"""A batch, and what happens on the stream once the device has computed it."""


class _Ahead:
    def __init__(self, feed: Feed, thread: ThreadPoolExecutor, device: torch.device) -> None:
        self._feed = feed
        self._thread = thread
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # What the feed draws with may still be on its way to the device.
            self._stream.wait_stream(torch.cuda.current_stream(device))
        self._made: dict[int, Future[_Made]] = {}

    def __call__(self, iteration: int) -> GeneratedBatch:
        for wanted in (iteration, iteration + 1):
            if wanted not in self._made:
                self._made[wanted] = self._thread.submit(self._make, wanted)
        batch, queued = self._made.pop(iteration).result()
        if queued is not None:
            training = torch.cuda.current_stream(self._device)
            training.wait_event(queued)
            for tensor in vars(batch).values():
                tensor.record_stream(training)
        return batch

    def _make(self, iteration: int) -> _Made:
        if self._stream is None:
            return self._feed(iteration), None
        with torch.cuda.stream(self._stream):
            return self._feed(iteration), self._stream.record_event()
