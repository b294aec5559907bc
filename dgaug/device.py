"""Which device a job runs on: the one place that reads `--device` and says what is wrong with it."""

from __future__ import annotations

import functools
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ParamSpec, TypeVar

import torch

from dgaug.cuda_math import exact_products
from dgaug.errors import DgaugError

AUTO = "auto"
_KNOWN = re.compile(r"auto|cpu|cuda(:\d+)?")
_BUILDS = "pytorch.org names the builds of torch for each driver"
_cuda: Any = torch.cuda  # partly without types
_log = logging.getLogger("dgaug")
_chosen: list[torch.device] = []
"""What running calls were told to use, the innermost last; empty: `auto`."""
_warned: set[str] = set()

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


def default_device() -> torch.device:
    """The device that the running call was told to use; else the first CUDA device, or the CPU where there is none."""
    if _chosen:
        return _chosen[-1]
    return torch.device("cuda" if usable_cuda() else "cpu")


def named_device(name: str | torch.device) -> torch.device:
    """The device of a name: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        DgaugError: another name, a device that does not exist here, or one that this torch cannot use.
    """
    text = str(name)
    if not _KNOWN.fullmatch(text):
        raise DgaugError(f"expected --device to be auto, cpu, cuda or cuda:N, found {text!r}; here: {_listed()}")
    if text == AUTO:
        return default_device()
    device = torch.device(text)
    if device.type == "cpu":
        return device
    if not usable_cuda():
        raise DgaugError(f"--device {text}: {why_no_cuda()}; --device cpu computes without it")
    if device.index is not None and device.index >= torch.cuda.device_count():
        raise DgaugError(f"--device {text} does not exist; here: {_listed()}")
    return device


@contextmanager
def use_device(name: str | torch.device) -> Iterator[torch.device]:
    """Make a named device the default of a block; `auto` keeps the one of the block around it.

    fp32 is exact on CUDA inside, without TF32; training chooses for itself (`training_math`).

    Raises:
        DgaugError: see `named_device`.
    """
    device = named_device(name)
    on_cuda = device.type == "cuda"
    chosen = str(name) != AUTO
    if chosen:
        _chosen.append(device)
    try:
        with (
            torch.cuda.device(device) if on_cuda and device.index is not None else nullcontext(),
            exact_products() if on_cuda else nullcontext(),
        ):
            yield device
    finally:
        if chosen:
            _chosen.pop()


def on_device(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """Run a function inside `use_device` of its keyword `device`, so that all that it calls computes there."""

    @functools.wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        with use_device(str(kwargs.get("device", AUTO))):
            return function(*args, **kwargs)

    return run


def require_precision(precision: str, device: torch.device, *, option: str) -> None:
    """Refuse bf16 on a card that computes it by emulation or not at all; `option` is what the remedy names.

    Raises:
        DgaugError: the card has no bf16.
    """
    if not precision.startswith("bf16") or device.type != "cuda" or _has_bf16(device):
        return
    raise DgaugError(
        f"{option}{precision} needs bfloat16, which {torch.cuda.get_device_name(device)} does not have (cards from "
        f"compute capability 8.0 on do); use {option}fp32"
    )


def _has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        try:
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
        except TypeError:  # an older torch, which never emulates
            return bool(torch.cuda.is_bf16_supported())


def usable_cuda() -> bool:
    """Whether there is a CUDA device that this torch can use; where there is one that it cannot, a note says why."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    for warning in caught:  # torch says it once in a process, over several lines
        text = f"the GPU is not used: {_first_sentence(str(warning.message))}; {_BUILDS}"
        if text not in _warned:
            _warned.add(text)
            _log.warning("%s", text)
    return usable


def why_no_cuda() -> str:
    """What keeps this torch from using CUDA here; the remedy follows a semicolon where there is one."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is a build for the CPU only; pytorch.org names the builds for CUDA"
    try:
        _cuda.init()
    except (RuntimeError, AssertionError) as error:
        reason = str(error)
    else:
        reason = "no CUDA device was found"
    if "too old" in reason:
        version = re.search(r"found version (\d+)", reason)
        newest = ""
        if version is not None:
            major, minor = divmod(int(version[1]), 1000)
            newest = f" (the newest CUDA that it can run is {major}.{minor // 10})"
        return (
            f"the NVIDIA driver is too old{newest} for torch {torch.__version__}, built for CUDA {torch.version.cuda}; "
            f"update the driver, or install a torch for it: {_BUILDS}"
        )
    return _first_sentence(reason)


def _first_sentence(text: str) -> str:
    line = " ".join(text.split())
    line = line.removeprefix("CUDA initialization: ")
    return re.split(r"\. |\.$|\(Triggered", line)[0].rstrip()


def _listed() -> str:
    """The devices that there are."""
    count = torch.cuda.device_count() if usable_cuda() else 0
    return ", ".join(["cpu", *(f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(count))])
