"""How CUDA computes in fp32: with TF32 or exactly, by the fastest algorithms or by those that repeat their bits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dgaug.settings import BehaviourSettings

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_cudnn: Any = torch.backends.cudnn  # whose types lack what newer versions have


@contextmanager
def exact_products() -> Iterator[None]:
    """Products and convolutions of fp32 in fp32, as on a CPU (a relative error of 1e-6; TF32: 1e-3)."""
    with _tf32(on=False):
        yield


@contextmanager
def training_math(behaviour: BehaviourSettings, device: torch.device) -> Iterator[None]:
    """Compute as `behaviour.tf32` and `behaviour.deterministic` say, on CUDA; afterwards everything is as it was."""
    if device.type != "cuda":
        yield
        return
    with _tf32(on=behaviour.tf32), _repeatable() if behaviour.deterministic else _fastest():
        yield


def tf32_is_on() -> bool:
    """Whether products and convolutions of fp32 are computed in TF32 on CUDA."""
    return torch.get_float32_matmul_precision() != "highest" and bool(_cudnn.allow_tf32)


@contextmanager
def _tf32(*, on: bool) -> Iterator[None]:
    before = _read()
    # These two, and not `fp32_precision`, because torch refuses to answer about either name once both were used.
    torch.set_float32_matmul_precision("high" if on else "highest")
    _cudnn.allow_tf32 = on
    try:
        yield
    finally:
        _restore(*before)


def _read() -> tuple[str | None, bool | None, tuple[str, ...]]:
    """What holds now: by the older names, or by the newer ones where somebody used those."""
    try:
        return torch.get_float32_matmul_precision(), bool(_cudnn.allow_tf32), ()
    except RuntimeError:
        return None, None, tuple(part.fp32_precision for part in _newer_names())


def _restore(products: str | None, convolutions: bool | None, newer: tuple[str, ...]) -> None:
    if products is not None and convolutions is not None:
        torch.set_float32_matmul_precision(products)
        _cudnn.allow_tf32 = convolutions
        return
    for part, value in zip(_newer_names(), newer, strict=True):
        part.fp32_precision = value


def _newer_names() -> tuple[Any, ...]:
    return torch.backends.cuda.matmul, _cudnn.conv, _cudnn.rnn


@contextmanager
def _fastest() -> Iterator[None]:
    """Let cuDNN try its algorithms for each new shape and keep the fastest."""
    before, _cudnn.benchmark = _cudnn.benchmark, True
    try:
        yield
    finally:
        _cudnn.benchmark = before


@contextmanager
def _repeatable() -> Iterator[None]:
    """Only algorithms that add in the same order each time; torch raises where it has none."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    flags, workspace = (_cudnn.deterministic, _cudnn.benchmark), os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, ":4096:8")
    _cudnn.deterministic, _cudnn.benchmark = True, False
    torch.use_deterministic_algorithms(True)
    try:
        with DeterministicKernels():
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        _cudnn.deterministic, _cudnn.benchmark = flags
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)


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
