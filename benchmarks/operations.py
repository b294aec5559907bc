"""What torch computes, operation by operation: seconds and floating-point operations of each kind."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from machine import synchronize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

KINDS: dict[str, tuple[str, ...]] = {
    "convolutions, forward": ("convolution",),
    "convolutions, backward": ("convolution_backward",),
    "other products": ("mm", "addmm", "bmm", "baddbmm"),
    "normalisation": ("batch_norm", "group_norm", "mean", "sub", "addcmul", "mul"),
    "activations": ("relu", "threshold", "clamp_min"),
    "padding": ("pad",),
    "additions": ("add", "sum"),
    "copies": ("copy", "clone", "stack", "cat", "index", "fill", "zero"),
    "optimisers": ("fused", "foreach"),
}
"""By kind, what the names of its operations contain (those of the first three: are); the first that fits counts."""
PRODUCTS = tuple(KINDS)[:3]
OTHER, BETWEEN = "other operations", "between operations"


class Operations(TorchDispatchMode):
    """Counts what is computed inside `with`, forward and backward.

    Attributes:
        seconds: by operation; on a GPU each waits for the one before, so that their sum is more than their time side
            by side.
        flop: by operation, two for each multiplication and addition; of products and convolutions alone.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.seconds: Counter[str] = Counter()
        self.flop: Counter[str] = Counter()
        self._device = device

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and add it up."""
        given = dict(kwargs or {})
        synchronize(self._device)
        began = time.perf_counter()
        result = func(*args, **given)
        synchronize(self._device)
        packet = func.overloadpacket
        name = str(packet).removeprefix("aten.")
        self.seconds[name] += time.perf_counter() - began
        if packet in flop_registry:
            self.flop[name] += flop_registry[packet](*args, **given, out_val=result)
        return result


def kind_of(operation: str) -> str:
    """The kind of an operation."""
    for kind, names in KINDS.items():
        if operation in names or (kind not in PRODUCTS and any(name in operation for name in names)):
            return kind
    return OTHER


def watched(work: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """Seconds of some work, its floating-point operations, and seconds by kind."""
    with Operations(device) as result:
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
    kinds: Counter[str] = Counter()
    for name, spent in result.seconds.items():
        kinds[kind_of(name)] += spent
    kinds[BETWEEN] = seconds - sum(kinds.values())
    return {"seconds": seconds, "flop": result.flop.total(), "kinds": dict(kinds)}
