"""Layers whose gradient CUDA adds up in any order, computed by steps that always add in the same one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class DeterministicKernels(TorchFunctionMode):
    """Replaces, inside `with`, what has no deterministic gradient on CUDA; the values are the same.

    torch raises for these under `torch.use_deterministic_algorithms`: reflection padding (its gradient adds
    atomically) and adaptive maximum pooling.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, or what stands in for it."""
        return _STANDS_IN.get(func, func)(*args, **(kwargs or {}))


def _pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    if mode != "reflect":
        return functional.pad(input, list(pad), mode, value)
    for place in range(len(pad) // 2):
        before, after = pad[2 * place : 2 * place + 2]
        input = _reflected(input, -1 - place, before, after)
    return input


def _reflected(maps: Tensor, axis: int, before: int, after: int) -> Tensor:
    first = maps.narrow(axis, 1, before).flip(axis)
    last = maps.narrow(axis, maps.shape[axis] - 1 - after, after).flip(axis)
    return torch.cat((first, maps, last), dim=axis)


def _adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    with torch.no_grad():
        _, places = functional.adaptive_max_pool2d(input, output_size, return_indices=True)
    largest = input.flatten(-2).gather(-1, places.flatten(-2)).view(places.shape)
    return (largest, places) if return_indices else largest


_STANDS_IN: dict[Any, Callable[..., Any]] = {
    functional.pad: _pad,
    functional.adaptive_max_pool2d: _adaptive_max_pool2d,
}
