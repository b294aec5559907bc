"""Backbones: strides, normalisation, and what is refused."""

from __future__ import annotations

import pytest
import torch

from dgaug.data.normalisation import normalise
from dgaug.errors import DgaugError
from dgaug.models.backbones import TimmBackbone, create_backbone, pool_bands

LITE = "tf_efficientnet_lite0"


@pytest.mark.parametrize(
    ("name", "last_stride", "channels", "maps"),
    [
        ("small", 1, 256, (4, 2)),
        ("resnet50", 1, 2048, (4, 2)),
        ("resnet50", 2, 2048, (2, 1)),
        (LITE, 1, 1280, (4, 2)),
        (LITE, 2, 1280, (2, 1)),
    ],
)
def test_feature_maps_have_the_stride_that_was_asked_for(
    name: str, last_stride: int, channels: int, maps: tuple[int, int]
) -> None:
    backbone = create_backbone(name, last_stride=last_stride).eval()
    assert backbone.channels == channels
    with torch.no_grad():
        assert backbone(torch.randn(2, 3, 64, 32)).shape == (2, channels, *maps)


def test_a_backbone_trained_with_other_statistics_sees_its_own() -> None:
    backbone = create_backbone(LITE).eval()
    assert isinstance(backbone, TimmBackbone)
    statistics = backbone.network.pretrained_cfg
    assert tuple(statistics["mean"]) != (0.485, 0.456, 0.406)
    pixels = torch.randint(0, 256, (2, 64, 32, 3), dtype=torch.uint8)
    theirs = (pixels.float() / 255 - torch.tensor(statistics["mean"])) / torch.tensor(statistics["std"])
    with torch.no_grad():
        expected = backbone.network.forward_features(theirs.permute(0, 3, 1, 2))
        assert torch.allclose(backbone(normalise(pixels)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "channels", "maps"),
    [
        ("vit_tiny_patch16_224", 192, (8, 4)),
        ("vit_small_patch14_dinov2", 384, (10, 5)),
        ("swin_tiny_patch4_window7_224", 768, (4, 2)),
        ("convnext_atto", 320, (8, 4)),
    ],
)
def test_transformers_and_others_take_images_of_any_size(name: str, channels: int, maps: tuple[int, int]) -> None:
    backbone = create_backbone(name).eval()
    assert backbone.channels == channels
    with torch.no_grad():
        assert backbone(torch.randn(2, 3, 128, 64)).shape == (2, channels, *maps)


def test_the_maps_of_a_vit_are_its_patches_in_their_places() -> None:
    backbone = create_backbone("vit_tiny_patch16_224").eval()
    images = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        tokens = backbone.network.forward_features(images * backbone.scale + backbone.shift)
        maps = backbone(images)
    assert tokens.shape == (1, 1 + 4 * 2, 192)
    for row in range(4):
        for column in range(2):
            assert torch.equal(maps[0, :, row, column], tokens[0, 1 + 2 * row + column])


def test_a_network_of_one_image_size_is_refused_at_once() -> None:
    with pytest.raises(DgaugError, match=r"'mixer_s16_224' gives no feature maps .*such as vit_small_patch16_224"):
        create_backbone("mixer_s16_224")


def test_an_unknown_backbone_is_refused_with_names_like_it() -> None:
    with pytest.raises(DgaugError, match="unknown backbone 'resnet51'"):
        create_backbone("resnet51")
    with pytest.raises(DgaugError, match=r"did you mean .*efficientnet"):
        create_backbone("efficientnet_b99")


def test_stripes_are_maxima_of_bands_with_the_bands_innermost() -> None:
    maps = torch.arange(2 * 8 * 3, dtype=torch.float32).view(1, 2, 8, 3)
    code = pool_bands(maps, 4, kind="max")
    assert code.shape == (1, 8)
    for channel in range(2):
        for band in range(4):
            assert code[0, 4 * channel + band] == maps[0, channel, 2 * band : 2 * band + 2].max()


def test_the_statistics_of_the_input_are_no_part_of_a_checkpoint() -> None:
    assert not any(name in ("scale", "shift") for name in create_backbone(LITE).state_dict())
