"""What CUDA computes with: said in one place, for the length of a block, and put back."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

import pytest
import torch
from tiny_run import differing, tiny_settings
from torch.nn import functional

from dgaug.cuda_math import DeterministicKernels, exact_products, tf32_is_on, training_math
from dgaug.settings import BehaviourSettings, load_settings

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    """A deprecation warning of torch is an error; what a test leaves changed too."""
    before = state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    assert state() == before


def state() -> tuple[object, ...]:
    cudnn = torch.backends.cudnn
    return (
        torch.get_float32_matmul_precision(),
        cudnn.allow_tf32,
        cudnn.benchmark,
        cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


def test_tf32_is_what_the_setting_says_during_training() -> None:
    with exact_products():
        assert not tf32_is_on()
        assert not torch.backends.cuda.matmul.allow_tf32
        with training_math(BehaviourSettings(), CUDA):
            assert tf32_is_on()
            assert torch.backends.cuda.matmul.allow_tf32
            assert torch.backends.cudnn.benchmark
        assert not tf32_is_on()
        with training_math(BehaviourSettings(tf32=False), CUDA):
            assert not tf32_is_on()


def test_on_a_cpu_nothing_changes() -> None:
    before = state()
    with training_math(BehaviourSettings(deterministic=True), CPU):
        assert state() == before


def test_deterministic_training_takes_no_kernel_that_adds_in_any_order() -> None:
    with training_math(BehaviourSettings(deterministic=True), CUDA):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        maps = torch.randn(1, 2, 4, 4, requires_grad=True)
        assert "Reflection" not in type(functional.pad(maps, (1, 1, 1, 1), mode="reflect").grad_fn).__name__


@pytest.mark.parametrize("pad", [(2, 1, 3, 2), (1, 1), (0, 0, 2, 2)])
def test_reflection_by_slices_is_reflection(pad: tuple[int, ...]) -> None:
    maps = torch.randn(2, 3, 8, 6, dtype=torch.float64, requires_grad=True)
    slope = torch.randn_like(plain := functional.pad(maps, pad, mode="reflect") if len(pad) == 4 else maps)
    if len(pad) == 2:
        maps = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
        plain = functional.pad(maps, pad, mode="reflect")
        slope = torch.randn_like(plain)
    with DeterministicKernels():
        sliced = functional.pad(maps, pad, mode="reflect")
    assert torch.equal(plain, sliced)
    torch.testing.assert_close(*(torch.autograd.grad(out, maps, slope)[0] for out in (plain, sliced)))


def test_other_paddings_and_pools_stay_what_they_are() -> None:
    maps = torch.randn(2, 3, 9, 5, requires_grad=True)
    functions = (
        lambda: functional.pad(maps, (1, 2), value=3.0),
        lambda: functional.pad(maps, (1, 2, 0, 1), mode="replicate"),
        lambda: functional.adaptive_max_pool2d(maps, (3, 1)),
        lambda: functional.adaptive_max_pool2d(maps, (3, 1), return_indices=True)[0],
    )
    for function in functions:
        plain = function()
        with DeterministicKernels():
            other = function()
        assert torch.equal(plain, other)
        assert torch.equal(*(torch.autograd.grad(out.square().sum(), maps)[0] for out in (plain, other)))


def test_they_do_not_decide_whether_a_run_may_resume() -> None:
    changed = tiny_settings(behaviour={"tf32": False, "deterministic": True})
    assert differing(tiny_settings(), changed) == []
    assert differing(tiny_settings(), tiny_settings(behaviour={"precision": "bf16"})) != []


def test_the_published_preset_computes_exactly() -> None:
    assert not load_settings("dgnet-published").behaviour.tf32
    assert load_settings("market1501").behaviour.tf32
