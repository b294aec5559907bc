"""Image encoders whose features are compared: FID's Inception and any timm model, from local files.

An encoder that judges identity, a re-id checkpoint or a timm model, had no part in making the images.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from pytorch_fid.inception import FIDInceptionA, FIDInceptionC, FIDInceptionE_1, FIDInceptionE_2
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import inception

from dgaug.data.normalisation import normalise
from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.models.checkpoints import ReidModel, load_reid
from dgaug.models.weights import download, hub_cache, load_weights
from dgaug.transfer import upload


def fid_inception(weights: Path | None = None, *, device: torch.device | str = "cpu") -> Encoder:
    """pytorch-fid's Inception (2,048 pooled features, bilinear resize to 299 x 299, input -1..1), without its download.

    The weights are the file given, or else the one in the torch hub cache.

    Raises:
        DgaugError: the weights are missing, damaged or of another network.
    """
    path = find_inception_weights(weights)
    digest = inception_sha256(path)
    network = _inception_network()
    # The classifier is loaded before it goes: its size tells these weights from torchvision's own Inception.
    load_weights(network, path, name="pytorch-fid's Inception")
    network.fc = nn.Identity()
    network.eval().requires_grad_(False).to(device)
    _make_fast(network)

    def extract(pixels: Tensor) -> Tensor:
        resized = interpolate(_unit_range(pixels, device), size=INCEPTION_SIZE, mode="bilinear", align_corners=False)
        features: Tensor = network((2 * resized - 1).contiguous(memory_format=torch.channels_last))
        return features

    return Encoder(INCEPTION_NAME, INCEPTION_DIMENSION, digest, extract)


INCEPTION_NAME = "fid_inception"
INCEPTION_DIMENSION = 2048
INCEPTION_CLASSES = 1008
INCEPTION_SIZE = (299, 299)
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256_START = "6726825d"
INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION_FILE}"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoder:
    """Images to features, with the name and the weights' sha256 that a score made from them must carry.

    `extract` is any function from pixels uint8 [N, H, W, 3] to features [N, dimension]; it chooses the device.
    """

    name: str
    dimension: int
    sha256: str
    extract: Callable[[Tensor], Tensor]

    def __call__(self, pixels: Tensor | npt.NDArray[np.uint8]) -> Tensor:
        """Features float32 [N, dimension] of RGB pixels uint8 [N, H, W, 3], on the encoder's device.

        Raises:
            DgaugError: pixels of another type or shape.
        """
        images = torch.as_tensor(pixels)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise DgaugError(
                f"{self.name}: expected pixels uint8 [N, H, W, 3], found {images.dtype} {list(images.shape)}"
            )
        with torch.no_grad():
            features = self.extract(images).float()
        if tuple(features.shape) != (len(images), self.dimension):
            raise DgaugError(
                f"{self.name}: expected features [{len(images)}, {self.dimension}], found {list(features.shape)}"
            )
        return features

    @property
    def frechet_key(self) -> str:
        """Name of a Fréchet distance of these features: `fid` for FID's own Inception only."""
        return "fid" if self.name == INCEPTION_NAME else f"frechet_{self.name}"

    @property
    def kernel_key(self) -> str:
        """Name of a kernel distance of these features: `kid` for FID's own Inception only."""
        return "kid" if self.name == INCEPTION_NAME else f"kernel_{self.name}"


def timm_encoder(name: str, weights: Path, *, device: torch.device | str = "cpu") -> Encoder:
    """A timm model's pooled features from a local weights file in timm's naming (.safetensors or a torch state dict).

    Images are resized (bicubic, antialiased, aspect not kept) to the input size in the model's pretrained
    configuration and normalised with its mean and standard deviation. A classifier in the file is left out.

    Raises:
        DgaugError: timm has no such model, or the file is missing, damaged or of another model.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        raise DgaugError(f"timm has no model {name!r}{f'; is it {near[0]!r}?' if near else ''}")
    network: Any = timm.create_model(name, pretrained=False, num_classes=0)
    load_weights(network, weights, name=name)
    network.eval().requires_grad_(False).to(device)
    configuration = network.pretrained_cfg
    size = tuple(configuration["input_size"][1:])
    mean, std = (torch.tensor(configuration[key], device=device).view(3, 1, 1) for key in ("mean", "std"))

    def extract(pixels: Tensor) -> Tensor:
        resized = interpolate(_unit_range(pixels, device), size=size, mode="bicubic", antialias=True).clamp(0, 1)
        features: Tensor = network((resized - mean) / std)
        return features

    with torch.no_grad():
        dimension = extract(torch.zeros(1, *size, 3, dtype=torch.uint8)).shape[1]
    return Encoder(name, dimension, file_sha256(weights), extract)


def inception_cached() -> bool:
    """Whether pytorch-fid's file is in the torch hub cache."""
    return hub_cache(INCEPTION_URL).is_file()


def find_inception_weights(weights: Path | None = None) -> Path:
    """The FID Inception weights: the file given, or pytorch-fid's in the torch hub cache.

    Nothing is downloaded unless `weights` is the word `download`.

    Raises:
        DgaugError: no such file, or the download failed.
    """
    if weights == Path("download"):
        return download(INCEPTION_URL, hub_cache(INCEPTION_URL))
    path = weights if weights is not None else hub_cache(INCEPTION_URL)
    if not path.is_file():
        raise DgaugError(
            f"FID needs the Inception weights and there are none at {path}: fetch {INCEPTION_URL} to that place, "
            "--inception-weights FILE names another, --inception-weights download fetches it"
        )
    return path


def inception_sha256(path: Path) -> str:
    """sha256 of FID Inception weights; under the official name it must be the official one, else it is logged.

    Raises:
        DgaugError: the file has the official name and other contents.
    """
    digest = file_sha256(path)
    if digest.startswith(INCEPTION_SHA256_START):
        return digest
    if path.name == INCEPTION_FILE:
        raise DgaugError(
            f"{path}: expected a sha256 that starts with {INCEPTION_SHA256_START}, found {digest[:8]}; the file is "
            f"damaged: fetch it again from {INCEPTION_URL}"
        )
    _log.warning("%s is not pytorch-fid's file (sha256 %s): FID from it compares only with itself", path, digest)
    return digest


def encoder_named(text: str, *, option: str, device: torch.device) -> Encoder:
    """The encoder that `NAME=FILE` means: a timm model and its weights.

    Raises:
        DgaugError: another form, no such model, or weights that do not fit.
    """
    name, equals, weights = text.partition("=")
    if not equals:
        raise DgaugError(f"{option} {text!r}: expected NAME=FILE, a timm model and its weights")
    return timm_encoder(name, Path(weights), device=device)


def judge_named(text: str, *, device: torch.device) -> Encoder:
    """The judge that `--judge` means: `NAME=FILE`, a timm model and its weights, or else a re-id checkpoint.

    Raises:
        DgaugError: there is no such file, or it is damaged.
    """
    if "=" in text and not Path(text).is_file():
        return encoder_named(text, option="--judge", device=device)
    model = load_reid(Path(text))
    model.network.to(device)
    return reid_encoder(model, Path(text).stem)


def require_independent(judge: Encoder, involved: dict[str, str]) -> None:
    """Refuse a judge that had a part in making the images.

    Args:
        involved: sha256 by what it is: the teacher, the generator's checkpoint.

    Raises:
        DgaugError: its weights are one of those.
    """
    for what, sha256 in involved.items():
        if judge.sha256 == sha256:
            raise DgaugError(
                f"--judge: this is {what} (sha256 {sha256[:8]}), which the images were made with: no independent "
                "judge; give a re-id checkpoint trained on real images only, or NAME=FILE, a timm model and its "
                "weights"
            )


def reid_encoder(model: ReidModel, name: str) -> Encoder:
    """A re-id network's features of images of any size."""
    device = next(model.network.parameters()).device
    size = model.image_size

    def extract(pixels: Tensor) -> Tensor:
        images = normalise(upload(pixels, device))
        if images.shape[2:] != size:
            images = interpolate(images, size=size, mode="bicubic", antialias=True)
        return model.network.features(images)

    return Encoder(name, model.network.feature_length, model.sha256, extract)


def _inception_network() -> Any:
    """Inception as torchvision builds it, with the blocks that pytorch-fid changes, as its weights expect."""
    blocks = [
        inception.BasicConv2d,
        FIDInceptionA,
        inception.InceptionB,
        FIDInceptionC,
        inception.InceptionD,
        FIDInceptionE_1,
        inception.InceptionAux,
    ]
    network = inception.Inception3(INCEPTION_CLASSES, aux_logits=False, inception_blocks=blocks, init_weights=False)
    network.Mixed_7c = FIDInceptionE_2(INCEPTION_DIMENSION)
    return network


def _make_fast(network: nn.Module) -> None:
    """Each convolution with its batch norm as one, in the memory order that CPUs and GPUs are fastest in."""
    for module in network.modules():
        if isinstance(module, inception.BasicConv2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = nn.Identity()
    network.to(memory_format=torch.channels_last)


def _unit_range(pixels: Tensor, device: torch.device | str) -> Tensor:
    """Pixels uint8 [N, H, W, 3] as float32 [N, 3, H, W] in 0..1."""
    return pixels.to(device).permute(0, 3, 1, 2).float() / 255
