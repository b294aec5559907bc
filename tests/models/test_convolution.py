"""A convolution that is differentiated twice: the gradients of PyTorch's own, and only those that are asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dgaug.models.convolution import input_gradients, penalised, twice_differentiable
from dgaug.models.discriminator import Discriminator
from dgaug.training.losses import gradient_penalty


def gradients(layer: nn.Conv2d, maps: Tensor, output: Tensor) -> list[Tensor]:
    """Of a loss and of a penalty on its input gradient, as an iteration adds them up."""
    score = nn.functional.leaky_relu(output, 0.2).square().sum()
    with input_gradients():
        (slope,) = torch.autograd.grad(score, maps, create_graph=True)
    return list(torch.autograd.grad(score + slope.square().sum(), [maps, *layer.parameters()]))


@pytest.mark.parametrize(
    ("stride", "dilation", "kernel", "bias"), [(1, 1, 3, True), (2, 1, 3, True), (1, 2, 3, False), (1, 1, 1, True)]
)
def test_both_gradients_are_those_of_pytorch(stride: int, dilation: int, kernel: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 5, kernel, stride, dilation=dilation, bias=bias).double()
    maps = torch.randn(2, 3, 11, 9, dtype=torch.float64, requires_grad=True)
    expected = gradients(layer, maps, layer(maps))
    for ours, theirs in zip(gradients(layer, maps, twice_differentiable(layer, maps)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_precision_is_that_of_autocast() -> None:
    layer, maps = nn.Conv2d(3, 5, 3), torch.randn(2, 3, 11, 9, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected, result = layer(maps), twice_differentiable(layer, maps)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, expected)
    result.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32


class Kernels(TorchDispatchMode):
    """The largest side of a convolution's kernel, and how many gradients of weights were computed."""

    def __init__(self) -> None:
        super().__init__()
        self.largest, self.of_weights = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name == "convolution":
            self.largest = max(self.largest, *args[1].shape[2:])
        if name == "convolution_backward":
            self.of_weights += args[10][1]
        return func(*args, **(kwargs or {}))


@pytest.fixture
def like_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "is_cuda", property(lambda self: True))


def penalty_gradients(on: bool) -> tuple[Kernels, Kernels, list[Tensor]]:
    """What is launched for the penalty, for its gradients, and those."""
    torch.manual_seed(0)
    critic, images = Discriminator((64, 32), 0.25), torch.randn(4, 3, 64, 32, requires_grad=True)
    with penalised(on):
        scores = critic(images)
    with Kernels() as first:
        penalty = gradient_penalty(scores, images)
    with Kernels() as second:
        made = torch.autograd.grad(penalty, list(critic.parameters()), allow_unused=True)
    return first, second, [gradient for gradient in made if gradient is not None and gradient.any()]


@pytest.mark.usefixtures("like_a_gpu")
def test_a_penalty_needs_no_kernel_as_large_as_a_map() -> None:
    theirs, ours = penalty_gradients(on=False), penalty_gradients(on=True)
    assert theirs[1].largest > 3
    assert ours[1].largest == 3
    assert ours[0].of_weights == 0
    for result, expected in zip(ours[2], theirs[2], strict=True):
        assert float((result - expected).norm() / expected.norm()) < 1e-4
