"""Streams, events and memory of the fake GPU: who waited for what, in the order in which it was said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from fake_cuda import GPU, Gpu


class Streams:
    """What happened on the streams.

    Attributes:
        said: lines such as `stream 1 waits for stream 0`.
        held: tensors whose memory waits for another stream than the one that made them.
        waited: how often the host waited for an event.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.held = 0
        self.waited = 0
        self.count = 0
        self.current = Stream(self)


class Stream:
    def __init__(self, streams: Streams) -> None:
        self.streams, self.device = streams, GPU
        self.name = f"stream {streams.count}"
        streams.count += 1

    def wait_stream(self, other: Stream) -> None:
        self.streams.said.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event: Event) -> None:
        self.streams.said.append(f"{self.name} waits for an event of {event.of}")

    def record_event(self, event: Event | None = None) -> Event:
        made = event or Event(self.streams)
        made.record(self)
        return made


class Event:
    def __init__(self, streams: Streams) -> None:
        self.streams, self.of = streams, "nothing"

    def record(self, stream: Stream | None = None) -> None:
        self.of = (stream or self.streams.current).name

    def synchronize(self) -> None:
        self.streams.waited += 1


class Here:
    """A thread pool that works in the calling thread: what counts belongs to a thread."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(function(*args, **kwargs))
        except Exception as problem:
            done.set_exception(problem)
        return done

    def map(self, function: Callable[..., Any], *items: Iterable[Any]) -> Iterable[Any]:
        return map(function, *items)


def fake_streams(patch: pytest.MonkeyPatch, *, memory: int = 80 << 30) -> Streams:
    """Streams and threads of a GPU with so much memory, until the patch is undone."""
    streams = Streams()

    @contextmanager
    def on(stream: Stream | None) -> Any:
        before, streams.current = streams.current, stream or streams.current
        yield
        streams.current = before

    def hold(self: torch.Tensor, stream: Stream) -> None:
        streams.held += 1

    patch.setattr(torch.cuda, "is_initialized", lambda: True)
    patch.setattr(torch.cuda, "Stream", lambda *_, **__: Stream(streams))
    patch.setattr(torch.cuda, "Event", lambda **_: Event(streams))
    patch.setattr(torch.cuda, "stream", on)
    patch.setattr(torch.cuda, "current_stream", lambda *_: streams.current)
    patch.setattr(torch.cuda, "mem_get_info", lambda *_: (memory, memory))
    patch.setattr(torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(total_memory=memory))
    patch.setattr(torch.Tensor, "record_stream", hold)
    for module in [one for name, one in sys.modules.items() if name.startswith("dgaug.")]:
        if hasattr(module, "ThreadPoolExecutor"):
            patch.setattr(module, "ThreadPoolExecutor", Here)
    return streams


class Machine(NamedTuple):
    """The fake GPU and its streams."""

    gpu: Gpu
    streams: Streams
