"""Structure encoder, decoder and generator: sizes, widths, and what each part can and cannot see."""

from __future__ import annotations

import pytest
import torch

from dgaug.models.blocks import LayerNorm, adaptive_instance_norm
from dgaug.models.generator import Generator
from dgaug.models.structure_encoder import StructureEncoder, grey

CODE = 64
SIZES = [(64, 32), (128, 64), (96, 48), (64, 64)]


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_images_keep_their_size_and_codes_are_a_quarter_of_it(size: tuple[int, int], width: float) -> None:
    height, across = size
    generator = Generator(size, CODE, width)
    images = torch.randn(2, 3, height, across)
    structure = generator.structure(images)
    assert structure.shape == (2, 128 * width, height // 4, across // 4)
    assert generator(structure, torch.randn(2, CODE)).shape == images.shape


def test_the_structure_code_of_the_published_size_has_its_shape() -> None:
    code = StructureEncoder((256, 128))(torch.randn(1, 1, 256, 128))
    assert code.shape == (1, 128, 64, 32)


def test_the_full_networks_have_the_published_number_of_parameters() -> None:
    generator = Generator((256, 128), 8192)
    assert parameters(generator.structure_encoder) == 380_544
    assert parameters(generator.decoder) == 1_455_555
    assert parameters(generator.adain) == 11_544_576


def test_a_smaller_width_has_fewer_parameters_in_every_part() -> None:
    full, half = Generator((64, 32), CODE), Generator((64, 32), CODE, 0.5)
    for part in ("structure_encoder", "decoder", "adain"):
        assert 0.2 < parameters(getattr(half, part)) / parameters(getattr(full, part)) < 0.6


@pytest.mark.parametrize(
    ("size", "dilations"),
    [((256, 128), [3, 6, 9]), ((128, 64), [3, 6, 9]), ((96, 48), [3, 6, 9]), ((64, 32), [3, 6, 7])],
)
def test_only_a_dilation_too_large_for_the_map_is_reduced(size: tuple[int, int], dilations: list[int]) -> None:
    layers = [branch.conv for branch in StructureEncoder(size, 0.25).scales.dilated]
    assert [layer.dilation[0] for layer in layers] == dilations


def test_a_structure_code_has_zero_mean_and_unit_variance_per_channel_and_image() -> None:
    code = StructureEncoder((64, 32), 0.5)(torch.randn(3, 1, 64, 32))
    assert code.mean(dim=(2, 3)).abs().max() < 1e-5
    assert torch.allclose(code.var(dim=(2, 3), unbiased=False), torch.ones(()), atol=1e-3)


def test_structure_sees_the_plain_mean_of_the_channels_and_no_colour() -> None:
    images = torch.randn(2, 3, 64, 32)
    assert torch.allclose(grey(images), (images[:, :1] + images[:, 1:2] + images[:, 2:]) / 3, atol=1e-6)
    generator = Generator((64, 32), CODE, 0.25)
    recoloured = images[:, [2, 0, 1]]
    assert torch.allclose(generator.structure(images), generator.structure(recoloured), atol=1e-4)


def test_an_image_depends_on_its_own_codes_alone() -> None:
    generator = Generator((64, 32), CODE, 0.25).eval()
    structure, appearance = torch.randn(3, 32, 16, 8), torch.randn(3, CODE)
    together = generator(structure, appearance)
    alone = generator(structure[1:2], appearance[1:2])
    assert torch.allclose(together[1:2], alone, atol=1e-5)
    assert not torch.allclose(together[0], generator(structure, appearance.roll(1, 0))[0], atol=1e-2)
    assert not torch.allclose(together[0], generator(structure.roll(1, 0), appearance)[0], atol=1e-2)


def test_each_slice_of_the_appearance_code_drives_its_own_block() -> None:
    adain = Generator((64, 32), CODE, 0.25).adain
    code = torch.randn(1, CODE)
    before = adain(code)
    assert before.shape == (1, 4, 2, 2, 32)
    for block in range(4):
        changed = code.clone()
        changed[:, block * 16 : (block + 1) * 16] += 1
        moved = (adain(changed) != before).any(dim=(0, 2, 3, 4))
        assert moved.tolist() == [other == block for other in range(4)]


def test_adaptive_instance_norm_sets_mean_and_deviation() -> None:
    scale, shift = torch.tensor([[2.0, 0.5]]), torch.tensor([[-1.0, 3.0]])
    maps = adaptive_instance_norm(torch.randn(1, 2, 32, 32) * 5 + 7, scale, shift)
    assert torch.allclose(maps.mean(dim=(2, 3)), shift, atol=1e-4)
    assert torch.allclose(maps.std(dim=(2, 3), unbiased=False), scale, atol=1e-3)


def test_layer_norm_takes_each_image_as_a_whole_with_the_unbiased_deviation() -> None:
    norm = LayerNorm(3)
    maps = torch.randn(2, 3, 4, 5) * 3 + 1
    expected = torch.stack([(one - one.mean()) / (one.std() + 1e-5) for one in maps])
    expected = expected * norm.gamma.view(1, 3, 1, 1) + norm.beta.view(1, 3, 1, 1)
    assert torch.allclose(norm(maps), expected, atol=1e-6)


def test_layer_norm_in_half_precision_does_not_mix_images() -> None:
    norm = LayerNorm(3)
    maps = (torch.randn(2, 3, 4, 5) + torch.tensor([0.0, 9.0]).view(2, 1, 1, 1)).bfloat16()
    assert norm(maps).dtype == torch.bfloat16
    assert torch.equal(norm(maps)[:1], norm(maps[:1]))
