"""Images without contrast: gradients of stacked norms and of the gradient penalty stay finite and of ordinary size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dgaug.models.blocks import LayerNorm, adaptive_instance_norm, arithmetic, instance_norm
from dgaug.models.discriminator import Discriminator
from dgaug.models.generator import Generator
from dgaug.training import losses

SIZE = (64, 32)
ORDINARY = 200.0
"""Above the gradient norm of any part here: ordinary images have 1 to 9, in bfloat16 almost constant ones up to 70."""


def constant() -> Tensor:
    return torch.full((1, 3, *SIZE), 0.7)


def images() -> dict[str, Tensor]:
    """Images [1, 3, 64, 32]: of one colour, nearly so, and of two values."""
    torch.manual_seed(0)
    grey_level = 1 / 255 / 0.226
    one_pixel, edge, halves, stripes, board = (constant() for _ in range(5))
    one_pixel[..., 10, 10] += grey_level
    edge[..., 0] += grey_level
    halves[:, :, : SIZE[0] // 2] = -1.3
    stripes[..., ::2] = -2.1
    board[..., ::2, ::2] = board[..., 1::2, 1::2] = 2.6
    return {
        "black": torch.full((1, 3, *SIZE), -2.1179),
        "white": torch.full((1, 3, *SIZE), 2.64),
        "coloured": torch.tensor([0.3, -1.7, 2.2])[None, :, None, None].expand(1, 3, *SIZE).clone(),
        "rounding noise": constant() + 1e-7 * torch.randn(1, 3, *SIZE),
        "fainter than a grey level": constant() + 1e-4 * torch.randn(1, 3, *SIZE),
        "one pixel": one_pixel,
        "one column": edge,
        "halves": halves,
        "stripes": stripes,
        "board": board,
    }


@pytest.fixture(params=["fp32", "bf16"])
def precision(request: pytest.FixtureRequest) -> Iterator[str]:
    with torch.autocast("cpu", torch.bfloat16, enabled=request.param == "bf16"):
        yield request.param


def gradient_norm(network: nn.Module) -> float:
    gradients = [parameter.grad.float().norm() for parameter in network.parameters() if parameter.grad is not None]
    return float(torch.stack(gradients).norm())


@pytest.mark.parametrize("kind", ["fast", "published", "as on a GPU"])
@pytest.mark.parametrize("name", images())
def test_the_generator_learns_as_much_from_an_image_without_contrast(
    name: str, kind: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "as on a GPU":
        monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda _: True))
    # Encoded, generated, and encoded again, as in training: 13 norms deep, then 8, then 13.
    torch.manual_seed(0)
    generator, code = Generator(SIZE, 64, 0.5), torch.randn(1, 64)
    image = images()[name].requires_grad_()
    with arithmetic(kind):
        generated = generator(generator.structure(image), code)
        again = generator.structure(generated)
        loss = (generated.float() - 0.1).abs().mean() + (again.float() - 1).abs().mean()
        loss.backward()
    assert torch.isfinite(image.grad).all()
    for part in (generator.structure_encoder, generator.decoder, generator.adain):
        assert gradient_norm(part) < ORDINARY


@pytest.mark.parametrize("kind", ["fast", "published"])
@pytest.mark.parametrize("name", images())
def test_the_gradient_penalty_of_an_image_without_contrast_is_finite(name: str, kind: str, precision: str) -> None:
    torch.manual_seed(0)
    critic, image = Discriminator(SIZE, 0.5), images()[name].requires_grad_()
    for parameter in critic.parameters():
        if parameter.dim() > 1:  # at its own start it answers 0
            nn.init.kaiming_normal_(parameter)
    with arithmetic(kind):
        penalty = losses.gradient_penalty(critic(image), image)
        penalty.backward()
    assert torch.isfinite(penalty)
    assert 0 < gradient_norm(critic) < float("inf")


@pytest.mark.parametrize("kind", ["strided", "paired"])
@pytest.mark.parametrize("name", images())
def test_an_image_without_contrast_does_not_outweigh_the_others_in_a_strided_discriminator(
    name: str, kind: str
) -> None:
    """Without the cut of constant channels the gradient of its penalty is 1e5 to 1e9; that of noise is 10."""
    torch.manual_seed(0)
    critic, image = Discriminator(SIZE, 0.5, kind), images()[name].requires_grad_()
    penalty = losses.gradient_penalty(critic(image, image.detach()), image)
    penalty.backward()
    assert float(penalty.detach()) < ORDINARY
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in critic.parameters())
    assert gradient_norm(critic) < 20 * ORDINARY


@pytest.mark.parametrize("kind", ["fast", "published"])
def test_a_constant_channel_passes_no_gradient_and_the_others_theirs(kind: str) -> None:
    torch.manual_seed(0)
    maps, scale, shift = torch.randn(2, 3, 8, 4), torch.randn(2, 3), torch.randn(2, 3)
    maps[0, 1] = 0.7
    maps[1, 2] = 0.7 + 1e-6 * torch.randn(8, 4)
    slope = torch.randn_like(maps)
    slopes = []
    for norm in (lambda x: functional.instance_norm(x, eps=1e-5), instance_norm):
        given = maps.clone().requires_grad_()
        with arithmetic(kind):
            norm(given).backward(slope)
        slopes.append(given.grad)
    expected, result = slopes
    constant_ones = torch.zeros(2, 3, dtype=torch.bool)
    constant_ones[0, 1] = constant_ones[1, 2] = True
    assert (result[constant_ones] == 0).all()
    assert torch.allclose(result[~constant_ones], expected[~constant_ones], atol=1e-5)
    given = [one.clone().requires_grad_() for one in (maps, scale, shift)]
    with arithmetic(kind):
        adaptive_instance_norm(*given).backward(slope)
    assert (given[0].grad[constant_ones] == 0).all()
    assert (given[0].grad[~constant_ones] != 0).any(dim=1).all()
    assert torch.allclose(given[2].grad, slope.sum(dim=(2, 3)), atol=1e-5)


@pytest.mark.parametrize("kind", ["fast", "published"])
def test_the_layer_norm_of_maps_that_are_constant_has_a_finite_gradient(kind: str, precision: str) -> None:
    norm, maps = LayerNorm(4), torch.full((1, 4, 8, 4), 0.7, requires_grad=True)
    with arithmetic(kind):
        norm(maps).square().sum().backward()
    assert torch.isfinite(maps.grad).all()
