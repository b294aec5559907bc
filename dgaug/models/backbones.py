"""Backbones of the appearance encoder and the re-id models: images to feature maps.

Every backbone takes images in the ImageNet-normalised space; one trained with other statistics
renormalises its input itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgaug.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from dgaug.errors import DgaugError
from dgaug.models.weights import load_weights, torchvision_weights

_jit: Any = torch.jit  # without types


class Backbone(nn.Module):
    """Maps normalised images [B, 3, H, W] to feature maps [B, channels, h, w]."""

    channels: int


class SmallBackbone(Backbone):
    """Four convolution stages at a total stride of 16, for images of 64 x 32: 0.4 M parameters."""

    channels = 256

    def __init__(self) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        inputs = 3
        for outputs in (32, 64, 128, 256):
            stages.append(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False))
            stages.append(nn.BatchNorm2d(outputs))
            stages.append(nn.ReLU())
            inputs = outputs
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps [B, 256, H / 16, W / 16]."""
        maps: Tensor = self.stages(images)
        return maps


class ResNet50(Backbone):
    """torchvision's ResNet-50 without its classifier; the last stage keeps its resolution at `last_stride` 1."""

    channels = 2048

    def __init__(self, last_stride: int) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.network = resnet50(weights=None)
        self.network.fc = nn.Identity()
        first = self.network.layer4[0]
        first.conv2.stride = first.downsample[0].stride = (last_stride, last_stride)

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps [B, 2048, H / 16, W / 16] (or / 32 at `last_stride` 2)."""
        network = self.network
        maps: Tensor = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        maps = network.layer4(network.layer3(network.layer2(network.layer1(maps))))
        return maps


class TimmBackbone(Backbone):
    """Any timm network that gives feature maps or a grid of tokens, at a total stride of 16 where it can."""

    scale: Tensor
    shift: Tensor

    def __init__(self, name: str, last_stride: int) -> None:
        super().__init__()
        self.network: Any = _timm_network(name, last_stride)
        self.channels = int(self.network.num_features)
        statistics = self.network.pretrained_cfg
        ours = torch.tensor([IMAGENET_MEAN, IMAGENET_STD]).view(2, 1, 3, 1, 1)
        theirs = torch.tensor([statistics["mean"], statistics["std"]]).view(2, 1, 3, 1, 1)
        self.register_buffer("scale", ours[1] / theirs[1], persistent=False)
        self.register_buffer("shift", (ours[0] - theirs[0]) / theirs[1], persistent=False)
        _require_feature_maps(self, name)

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps [B, C, h, w]."""
        maps: Tensor = self.network.forward_features(images * self.scale + self.shift)
        if maps.ndim == 3:
            return self._grid(maps, images)
        return maps if maps.shape[1] == self.channels else maps.permute(0, 3, 1, 2)

    def _grid(self, tokens: Tensor, images: Tensor) -> Tensor:
        """The patch tokens of [B, tokens, C] as maps, without those that stand for the whole image."""
        patch = self.network.patch_embed.patch_size
        rows, columns = (-(-side // length) for side, length in zip(images.shape[2:], patch, strict=True))
        patches = tokens[:, self.network.num_prefix_tokens :].transpose(1, 2)
        return patches.reshape(len(tokens), self.channels, rows, columns)


# What keeps a family's resolution, or makes it take images of any size; the first that it knows is used.
_WISHES: tuple[dict[str, Any], ...] = (
    {"output_stride": 16},
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"strict_img_size": False},
)


def _timm_network(name: str, last_stride: int) -> Any:
    import timm

    if not timm.is_model(name):
        close = timm.list_models(f"*{name.split('_')[0]}*")[:5]
        hint = f"; did you mean {', '.join(close)}" if close else ""
        raise DgaugError(f"unknown backbone {name!r}: neither small, resnet50 nor a timm model{hint}")

    def granted(wish: dict[str, Any]) -> Any | None:
        try:
            return timm.create_model(name, pretrained=False, num_classes=0, **wish)
        except (TypeError, NotImplementedError, AssertionError):
            return None  # this family does not know that wish

    tried = (granted(wish) for wish in _WISHES[0 if last_stride == 1 else 1 :])
    reason = next((network for network in tried if network is not None), None)
    return timm.create_model(name, pretrained=False, num_classes=0) if reason is None else reason


@torch.no_grad()
def _require_feature_maps(network: TimmBackbone, name: str) -> None:
    try:
        maps = network.eval()(torch.zeros(1, 3, 64, 32))
        reason = f"{maps.ndim - 1} axes an image"
    except (AssertionError, AttributeError, RuntimeError, ValueError) as error:  # what one for one image size raises
        maps, reason = None, str(error).splitlines()[0]
    if maps is None or maps.ndim != 4:
        raise DgaugError(
            f"backbone {name!r} gives no feature maps for images of any size ({reason}); "
            "choose another, such as vit_small_patch16_224, swin_tiny_patch4_window7_224 or tf_efficientnet_lite0"
        )
    network.train()


def create_backbone(name: str, *, weights: str = "none", last_stride: int = 1) -> Backbone:
    """A backbone with `.channels`, mapping [B, 3, H, W] to [B, channels, h, w].

    Args:
        name: `small`, `resnet50`, or any timm model with feature maps.
        weights: `none`, `imagenet` (from the local cache), `download` (fetch, check, cache) or a file.
        last_stride: stride of the last stage where it can be chosen.

    Raises:
        DgaugError: unknown name; weights missing or not fitting.
    """
    if name == "small":
        backbone: Backbone = SmallBackbone()
    else:
        backbone = ResNet50(last_stride) if name == "resnet50" else TimmBackbone(name, last_stride)
    if weights != "none":
        network: nn.Module = getattr(backbone, "network", backbone)  # what its weights are published for
        load_weights(network, torchvision_weights(name, weights), name=name)
    # Channels-last weights make every convolution run in that layout, the fastest of oneDNN and cuDNN.
    return backbone.to(memory_format=torch.channels_last)


def pool_bands(maps: Tensor, bands: int, *, kind: str) -> Tensor:
    """Pool (`max` or `avg`) over horizontal bands, [B, C, h, w] to [B, C * bands], the bands innermost.

    Bands overlap where h is no multiple of them.
    """
    if _jit.is_tracing():
        return _pool_rows(maps, bands, kind)
    reduce = functional.adaptive_max_pool2d if kind == "max" else functional.adaptive_avg_pool2d
    return reduce(maps, (bands, 1)).flatten(1)


def _pool_rows(maps: Tensor, bands: int, kind: str) -> Tensor:
    """The same band by band, for exported networks: ONNX has no adaptive pooling into bands that overlap."""
    height = int(maps.shape[2])
    rows = [maps[:, :, band * height // bands : -(-(band + 1) * height // bands)] for band in range(bands)]
    pooled = [part.amax(dim=(2, 3)) if kind == "max" else part.mean(dim=(2, 3)) for part in rows]
    return torch.stack(pooled, dim=2).flatten(1)
