"""Between the host and a device, so that neither waits for the other: page-locked memory, and a stream for copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

STAGED = 1 << 16
"""Bytes that CUDA copies from any memory without making the host wait, by way of memory of its own."""


def at_work(device: torch.device) -> bool:
    """Whether there is a CUDA device to overlap with: one that holds something already."""
    return device.type == "cuda" and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]


def upload(values: Tensor | NDArray[Any], device: torch.device) -> Tensor:
    """A tensor or array on a device; a copy to CUDA is queued behind what the device computes."""
    host = values if isinstance(values, Tensor) else torch.from_numpy(values)
    if at_work(device) and host.device.type == "cpu" and host.numel() * host.element_size() > STAGED:
        # From pageable memory the host would wait until the device has finished everything before the copy.
        host = host.pin_memory()
    return host.to(device, non_blocking=True)


class Arriving:
    """Tensors on their way to the host."""

    def __init__(self, tensors: Sequence[Tensor], event: torch.cuda.Event | None) -> None:
        self._tensors = tensors
        self._event = event

    def wait(self) -> list[NDArray[Any]]:
        """The tensors as arrays, once they are here."""
        if self._event is not None:
            self._event.synchronize()
        return [tensor.numpy() for tensor in self._tensors]


class Downloads:
    """Copies from a device to the host, beside what the device computes next.

    On CUDA they have a stream of their own. PyTorch takes the page-locked memory they go into from a pool, to which it
    returns with the array, so as many buffers are in use as batches are under way.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream: torch.cuda.Stream | None = None
        if at_work(device):
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def start(self, tensors: Sequence[Tensor]) -> Arriving:
        """Begin to copy; what computes the tensors may still be queued."""
        if self._stream is None:
            return Arriving([tensor.cpu() for tensor in tensors], None)
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
            # The waiting thread sleeps: the cores are for compression.
            event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            event.record(self._stream)
        for tensor in tensors:
            tensor.record_stream(self._stream)
        return Arriving(copies, event)
