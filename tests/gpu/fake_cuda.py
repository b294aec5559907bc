"""Tensors that claim a GPU: code runs, nothing is computed, no driver is needed.

What is counted: kernels (about those that CUDA would launch) and waits (the host waits for the GPU). What fake tensors
do not know of CUDA is put right: the layouts that cuDNN and padding give, and a group norm that refuses other layouts.
Without a driver autograd cannot run for a GPU, so every input of a backward pass gets a gradient without content.
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.optim.optimizer as optimizers
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from dgaug.transfer import STAGED

GPU = torch.device("cuda", 0)
A = torch.ops.aten
NO_KERNEL = {
    "alias", "as_strided", "chunk", "detach", "device", "diagonal", "empty", "empty_like", "empty_strided", "expand",
    "is_pinned", "lift_fresh", "new_empty", "new_empty_strided", "permute", "record_stream", "reshape", "resize_",
    "select", "set_", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold",
    "unsqueeze", "view", "_reshape_alias", "_unsafe_view", "_local_scalar_dense",
}  # fmt: skip
"""Operations that launch nothing."""
WAITING = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "_linalg_eigh", "_linalg_svd"}
"""Operations whose result has a size that the host must know."""
A_LAUNCH = 60
"""Tensors, about, that one launch of a `_foreach` or fused operation takes."""


class Gpu(TorchDispatchMode):
    """Counts kernels and waits, and lays results out as CUDA does."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: collections.Counter[str] = collections.Counter()
        self.kernels = 0

    def clear(self) -> None:
        """Begin to count."""
        self.waits.clear()
        self.kernels = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if name == "_local_scalar_dense" and isinstance(args[0], FakeTensor):
            self.waits["item"] += args[0].device == GPU
            return 0.5 if args[0].dtype.is_floating_point else 0
        made = func(*args, **kwargs)
        tensors = [one for one in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if not any(one.device == GPU for one in [*tensors, *_tensors(made)]):
            return made
        self._count_waits(name, args, kwargs, made)
        self.kernels += _kernels(name, args)
        return self._laid_out(name, args, made)

    def _count_waits(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], made: Any) -> None:
        if name in WAITING:
            self.waits[name] += 1
        if name == "index" and any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1] or []):
            self.waits["boolean index"] += 1
        if name in ("_to_copy", "copy_"):
            source, target = (args[0], made) if name == "_to_copy" else (args[1], args[0])
            later = bool(kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
            self.waits["copy"] += source.device != target.device and not (later and _is_queued(source))

    def _laid_out(self, name: str, args: tuple[Any, ...], made: Any) -> Any:
        if name.startswith("reflection_pad2d"):
            self.kernels += any(_channels_last(one) for one in args[:2] if isinstance(one, Tensor))
            return made.contiguous()
        if name == "convolution" and made.ndim == 4:
            inner = any(_channels_last(one) for one in args[:2])
            layout = torch.channels_last if inner else torch.contiguous_format
            self.kernels += sum(not one.is_contiguous(memory_format=layout) for one in args[:2])
            return made.contiguous(memory_format=layout)
        return made


def _is_queued(source: Tensor) -> bool:
    """Whether an asynchronous copy lets the host run on: out of the GPU, out of page-locked memory, or a small one."""
    small = source.numel() * source.element_size() <= STAGED
    return source.device == GPU or small or getattr(source, "page_locked", False)


def _tensors(made: Any) -> list[Tensor]:
    return [one for one in torch.utils._pytree.tree_leaves(made) if isinstance(one, Tensor)]


def _kernels(name: str, args: tuple[Any, ...]) -> int:
    if name in NO_KERNEL:
        return 0
    if name == "convolution":
        return 1 + (args[2] is not None)  # the bias is added by itself
    if name.startswith(("_foreach", "_fused")):
        return -(-len(args[0]) // A_LAUNCH)
    return 2 if name == "native_group_norm" else 1


def _channels_last(tensor: Tensor) -> bool:
    """PyTorch's own rule, which takes the strides of any map with one channel or pixel for what it must not be."""
    least = 0
    for axis in (1, 3, 2, 0):
        if tensor.ndim != 4 or tensor.stride(axis) < least or (axis == 0 and least == tensor.stride(1)):
            return False
        least = tensor.stride(axis) * max(1, tensor.shape[axis])
    return True


@contextmanager
def fake_gpu(patch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """Everything inside sees a GPU."""
    gpu = Gpu()
    with patch.context() as inside:
        _replace_what_needs_a_driver(inside, gpu)
        with FakeTensorMode(allow_non_fake_inputs=True), gpu:
            yield gpu


def _replace_what_needs_a_driver(patch: pytest.MonkeyPatch, gpu: Gpu) -> None:
    make = torch.tensor
    group_norm = torch.native_group_norm

    def tensor(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        with _disable_current_modes():
            real = make(data, *args, **kwargs)
        gpu.waits["torch.tensor"] += device is not None and torch.device(device).type == "cuda"
        return torch.empty(real.shape, dtype=real.dtype, device=device or "cpu")

    def strict_group_norm(maps: Tensor, *args: Any) -> Any:
        assert maps.device != GPU or maps.is_contiguous(), "before torch 2.14 CUDA refuses other layouts"
        return group_norm(maps, *args)

    def read(self: Tensor) -> Any:
        gpu.waits["tolist"] += self.device == GPU
        return np.full(tuple(self.shape), 0.5 if self.dtype.is_floating_point else 0).tolist()

    def to_numpy(self: Tensor) -> Any:
        assert self.device != GPU, "numpy() of a tensor on a GPU"
        return np.zeros(tuple(self.shape), str(self.dtype).removeprefix("torch."))

    patch.setattr(torch, "tensor", tensor)
    patch.setattr(torch, "native_group_norm", strict_group_norm)
    patch.setattr(torch.Tensor, "numpy", to_numpy)
    patch.setattr(torch.Tensor, "pin_memory", _page_locked)
    patch.setattr(FakeTensor, "tolist", read, raising=False)
    patch.setattr(torch.autograd, "backward", _empty_gradients)
    patch.setattr(torch.autograd, "grad", lambda outputs, inputs, **_: (torch.empty_like(inputs),))
    patch.setattr(torch.nn.Module, "_apply", _apply)
    patch.setattr(torch.cuda, "is_available", lambda: True)
    patch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    patch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    patch.setattr(FakeTensorMode, "avoid_device_init", property(lambda self: True), raising=False)
    patch.setattr("torch._subclasses.fake_tensor.init_gpu_context", lambda *_: None)
    if hasattr(optimizers, "_foreach_supported_types"):  # or they would update one parameter after the other
        known = [*optimizers._foreach_supported_types, FakeTensor]
        patch.setattr(optimizers, "_foreach_supported_types", known)
    autocast = torch.amp.autocast_mode.autocast
    patch.setattr(autocast, "__init__", _silent(autocast.__init__))


def _empty_gradients(_tensors: Any, _gradients: Any = None, *, inputs: Any = (), **_: Any) -> None:
    for one in inputs:
        one.grad = torch.empty_like(one)


def _page_locked(self: Tensor) -> Tensor:
    copied = self.clone()
    copied.page_locked = True  # type: ignore[attr-defined]
    return copied


def _apply(self: torch.nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> torch.nn.Module:
    """PyTorch's own cannot replace parameters by fake ones."""
    for child in self.children():
        child._apply(change)
    for name, parameter in self._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                self._parameters[name] = torch.nn.Parameter(change(parameter), parameter.requires_grad)
    self._buffers.update({name: None if one is None else change(one) for name, one in self._buffers.items()})
    return self


def _silent(function: Callable[..., None]) -> Callable[..., None]:
    def call(*args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(*args, **kwargs)

    return call
