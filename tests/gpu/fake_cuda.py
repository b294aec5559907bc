"""Tensors that claim a GPU: devices mix visibly, strict kernels refuse, waits and operations are counted.

Nothing is computed and no driver is needed. Without one autograd cannot run for a GPU either: every input of a backward
pass gets an empty gradient.
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

GPU = torch.device("cuda", 0)
ATEN = torch.ops.aten


class Gpu(TorchDispatchMode):
    """What CUDA does that fake tensors do not know: layouts of cuDNN and of padding, and who waits.

    Attributes:
        waits: how often the host waited for the GPU, by what for.
        kernels: operations that launch kernels on the GPU: no views, no empty tensors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: collections.Counter[str] = collections.Counter()
        self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        op = func.overloadpacket
        if op is ATEN._local_scalar_dense and isinstance(args[0], FakeTensor):
            self.waits["item"] += args[0].device.type == "cuda"
            return 0.5 if args[0].dtype.is_floating_point else 0
        out = func(*args, **kwargs)
        if op is ATEN._to_copy and args[0].device != out.device:
            self.waits["copy"] += _waits(args[0], queued=kwargs.get("non_blocking", False))
        if op is ATEN.copy_ and args[0].device != args[1].device:
            self.waits["copy"] += _waits(args[1], queued=len(args) > 2 and args[2])
        if op in (ATEN.reflection_pad2d, ATEN.reflection_pad2d_backward) and out.device == GPU:
            out = out.contiguous()
        if op is ATEN.convolution and out.device == GPU and out.ndim == 4:
            last = any(_channels_last(tensor) for tensor in args[:2])
            out = out.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
        self.kernels += _launches(func, out)
        return out


def _launches(func: Any, out: Any) -> bool:
    name = func._schema.name.split("::")[1]
    if func.namespace == "prim" or func.is_view or name.startswith(("empty", "new_empty", "_unsafe_view")):
        return False
    results = out if isinstance(out, (tuple, list)) else (out,)
    return any(isinstance(one, torch.Tensor) and one.device.type == "cuda" for one in results)


def _waits(source: torch.Tensor, *, queued: bool) -> bool:
    """Whether the host waits for a copy: unless it is queued, and from the host out of page-locked memory."""
    return not queued or (source.device.type == "cpu" and not getattr(source, "page_locked", False))


def _channels_last(maps: torch.Tensor) -> bool:
    """What cuDNN's front asks: c10's `is_channels_last_strides_2d`."""
    least = 0
    for axis in (1, 3, 2, 0):
        if maps.stride(axis) < least or (axis == 0 and least == maps.stride(1)):
            return False
        least = maps.stride(axis) * max(maps.shape[axis], 1)
    return True


@contextmanager
def fake_gpu(patch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """Everything inside sees one GPU."""
    mode, gpu = FakeTensorMode(allow_non_fake_inputs=True), Gpu()
    made, native, autocast = torch.tensor, torch.native_group_norm, torch.amp.autocast_mode.autocast.__init__

    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, inputs: Any = (), **kwargs: Any) -> None:
        for one in inputs:
            one.grad = torch.empty_like(one)

    def apply(self: torch.nn.Module, function: Any, recurse: bool = True) -> torch.nn.Module:
        """Torch's own cannot replace fake parameters."""
        for child in self.children():
            child._apply(function)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                with torch.no_grad():
                    self._parameters[name] = torch.nn.Parameter(function(parameter), parameter.requires_grad)
        self._buffers.update({name: None if one is None else function(one) for name, one in self._buffers.items()})
        return self

    def tensor(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
        with _disable_current_modes():
            real = made(data, **kwargs)
        gpu.waits["torch.tensor"] += device is not None and torch.device(device).type == "cuda"
        return torch.empty(real.shape, dtype=real.dtype, device=device or "cpu")

    def strict_group_norm(maps: torch.Tensor, *args: Any) -> Any:
        assert maps.device.type == "cpu" or maps.is_contiguous(), "CUDA before torch 2.14 takes contiguous maps only"
        return native(maps, *args)

    def quiet_autocast(self: Any, *args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            autocast(self, *args, **kwargs)

    def page_locked(self: torch.Tensor) -> torch.Tensor:
        copied = self.clone()
        copied.page_locked = True  # type: ignore[attr-defined]
        return copied

    with patch.context() as here:
        here.setattr(torch, "native_group_norm", strict_group_norm)
        here.setattr(torch, "tensor", tensor)
        here.setattr(torch.autograd, "backward", backward)
        here.setattr(torch.autograd, "grad", lambda outputs, inputs, **_: (torch.empty_like(inputs),))
        here.setattr(torch.nn.Module, "_apply", apply)
        here.setattr(torch.Tensor, "numpy", lambda self: np.zeros(tuple(self.shape), str(self.dtype)[6:]))
        here.setattr(torch.Tensor, "pin_memory", page_locked)
        here.setattr(FakeTensor, "tolist", lambda self: [one.item() for one in self], raising=False)
        here.setattr(torch.cuda, "is_available", lambda: True)
        here.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        here.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
        here.setattr(FakeTensorMode, "avoid_device_init", property(lambda self: True), raising=False)
        here.setattr("torch._subclasses.fake_tensor.init_gpu_context", lambda *_: None)
        here.setattr("torch.amp.autocast_mode.autocast.__init__", quiet_autocast)
        with mode, gpu:
            yield gpu
