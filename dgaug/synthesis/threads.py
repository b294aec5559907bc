"""Batches side by side: a thread for each, in which torch computes alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import nn


def usable_cores() -> int:
    """Cores that this process may use, at least two: what torch computes leaves some time on one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, allowed)


def side_by_side(device: torch.device, threads: int) -> int:
    """How many batches to compute at a time: on a CPU one per thread, elsewhere one, which fills the device."""
    return threads if device.type == "cpu" else 1


@contextmanager
def single_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads that do not share the work of a layer.

    Threads that share it wait for each other after every layer, and for whatever else the machine does; these do not,
    and what they compute is the same however many there are.
    """
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def fit_for_one_thread(network: nn.Module) -> None:
    """Have oneDNN compute a network's 1 x 1 convolutions on one thread too, as it does all others.

    For few images on one thread torch takes a plain matrix product, with which a ResNet-50 takes 1.4 times as long on
    an AMD core, unless the convolution is dilated, which is no difference to a kernel of one tap.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
            layer.dilation = (2, 2)
