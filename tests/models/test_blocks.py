"""Gradients of the blocks that write their own backward pass, and their precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dgaug.models.blocks import (
    LayerNorm,
    _reflect_channels_last,
    adaptive_instance_norm,
    arithmetic,
    as_published,
    instance_norm,
    spelled_out_norm,
)
from dgaug.models.discriminator import Discriminator
from dgaug.models.generator import Generator
from dgaug.models.upsampling import UpsampledConv

LAYOUTS = [torch.contiguous_format, torch.channels_last]


def maps_of(*shape: int, layout: torch.memory_format = torch.contiguous_format) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norms_have_the_right_values_and_gradients(
    layout: torch.memory_format, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "gpu":
        monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda _: True))
    maps, scale, shift = maps_of(2, 3, 4, 5, layout=layout), maps_of(2, 3), maps_of(2, 3)
    assert torch.allclose(instance_norm(maps), functional.instance_norm(maps))
    assert torch.autograd.gradcheck(instance_norm, (maps,))
    assert torch.autograd.gradcheck(adaptive_instance_norm, (maps, scale, shift))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_instance_norm_keeps_its_precision_where_the_mean_is_large(layout: torch.memory_format) -> None:
    maps = (maps_of(1, 2, 64, 32).detach() + 100).float().contiguous(memory_format=layout)
    exact = functional.instance_norm(maps.double())
    assert (instance_norm(maps) - exact).norm() / exact.norm() < 1e-5


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reflection_by_channels_is_pytorchs_and_keeps_them_innermost(layout: torch.memory_format, width: int) -> None:
    maps = maps_of(2, 3, 5, 4, layout=layout)
    assert torch.equal(_reflect_channels_last(maps, width), functional.pad(maps, (width,) * 4, mode="reflect"))
    assert torch.autograd.gradcheck(_reflect_channels_last, (maps, width))
    assert torch.autograd.gradgradcheck(_reflect_channels_last, (maps, width)), "the penalty is differentiated twice"
    inner = maps.contiguous(memory_format=torch.channels_last)
    assert _reflect_channels_last(inner, width).is_contiguous(memory_format=torch.channels_last)


def test_on_a_gpu_layers_are_computed_in_pytorchs_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    upsample = UpsampledConv(3, 2).double()
    maps, scale, shift = maps_of(2, 3, 4, 5), maps_of(2, 3), maps_of(2, 3)
    layers = (upsample, instance_norm, lambda given: adaptive_instance_norm(given, scale, shift))
    here = [layer(maps) for layer in layers]
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda _: True))
    there = [layer(maps) for layer in layers]
    for mine, theirs in zip(here, there, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-9)
        assert not torch.equal(mine, theirs), "another way"


@pytest.mark.parametrize("case", ["ordinary", "a constant channel"])
def test_norms_spelled_out_for_a_compiler_are_the_ordinary_ones(case: str) -> None:
    maps, scale, shift = maps_of(2, 3, 4, 5), maps_of(2, 3), maps_of(2, 3)
    if case == "a constant channel":
        maps.detach()[0, 1] = 0.7
    ordinary, spelled_out = (
        torch.autograd.grad(norm(maps, scale, shift).pow(3).sum(), (maps, scale, shift))
        for norm in (adaptive_instance_norm, spelled_out_norm)
    )
    for mine, theirs in zip(spelled_out, ordinary, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)  # statistics in float32
    assert ordinary[0][0, 1].any() == (case == "ordinary")
    layer = LayerNorm(3).double()
    torch.testing.assert_close(layer.spelled_out(maps), layer(maps), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("network", ["structure encoder", "decoder", "discriminator"])
def test_a_network_is_compiled_in_one_piece(network: str) -> None:
    generator, image = Generator((64, 32), 16, 0.25), torch.randn(2, 3, 64, 32)
    parameters = generator.adain(torch.randn(2, 16))
    compiled: nn.Module
    compiled, inputs = {
        "structure encoder": (generator.structure_encoder, (image[:, :1],)),
        "decoder": (generator.decoder, (generator.structure(image), parameters)),
        "discriminator": (Discriminator((64, 32), 0.25), (image,)),
    }[network]
    expected = compiled(*inputs)
    compiled.compile(backend="eager", fullgraph=True)
    for kind in ("fast", "published"):
        with arithmetic(kind):
            torch.testing.assert_close(compiled(*inputs), expected)


def test_what_is_compiled_is_never_computed_as_published() -> None:
    told = torch.compile(lambda maps: maps + as_published(), backend="eager", fullgraph=True)
    with arithmetic("published"):
        assert told(torch.zeros(1)) == 0
        assert as_published()
