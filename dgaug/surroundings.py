"""What a caller has set for NumPy and torch: the library computes as if nothing were, and leaves all of it as found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def as_found(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, computing in `usual_arithmetic` and leaving torch's global random numbers where they were."""

    @wraps(function)
    def entered(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with usual_arithmetic(), _same_random_numbers():
            return function(*args, **kwargs)

    return entered


@contextmanager
def usual_arithmetic() -> Iterator[None]:
    """NumPy and torch as they are when nobody has changed them, for the length of a block.

    Floating-point errors of NumPy are no exceptions; torch makes float32 on the CPU where nothing else is asked for,
    records gradients, and casts nothing.
    """
    with ExitStack() as stack:
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        if "torch" in sys.modules:
            _enter_usual_torch(stack)
        yield


def _enter_usual_torch(stack: ExitStack) -> None:
    import torch

    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.enable_grad())
    dtype = torch.get_default_dtype()
    if dtype != torch.float32:
        torch.set_default_dtype(torch.float32)
        stack.callback(torch.set_default_dtype, dtype)
    # Both slow down every call of torch, so they are entered only where they change something.
    if torch.get_default_device().type != "cpu":
        stack.enter_context(torch.device("cpu"))
    for kind in ("cpu", "cuda"):
        if torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False))


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    if "torch" not in sys.modules:
        yield
        return
    import torch

    before = torch.get_rng_state()
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    of_devices = torch.cuda.get_rng_state_all() if started else None
    try:
        yield
    finally:
        torch.set_rng_state(before)
        if of_devices is not None:
            torch.cuda.set_rng_state_all(of_devices)
        else:
            # Untouched so far, they are where the same seed put them.
            torch.cuda.manual_seed_all(torch.initial_seed())
