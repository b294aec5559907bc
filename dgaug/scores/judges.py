"""Who judges identity: a re-id checkpoint or any timm encoder that had no part in making the pictures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dgaug.data.pixels import normalise
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import ReidModel, load_reid
from dgaug.scores.encoders import Encoder, timm_encoder
from dgaug.transfer import upload


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
    """Refuse a judge that had a part in making the pictures.

    Args:
        involved: sha256 by what it is: the teacher, the generator's checkpoint.

    Raises:
        DgaugError: its weights are one of those.
    """
    for what, sha256 in involved.items():
        if judge.sha256 == sha256:
            raise DgaugError(
                f"--judge: this is {what} (sha256 {sha256[:8]}), which the pictures were made with: no independent "
                "judge; give a re-id checkpoint trained on real pictures only, or NAME=FILE, a timm model and its "
                "weights"
            )


def reid_encoder(model: ReidModel, name: str) -> Encoder:
    """A re-id network's features of pictures of any size."""
    device = next(model.network.parameters()).device
    size = model.image_size

    def extract(pixels: Tensor) -> Tensor:
        pictures = normalise(upload(pixels, device))
        if pictures.shape[2:] != size:
            pictures = interpolate(pictures, size=size, mode="bicubic", antialias=True)
        return model.network.features(pictures)

    return Encoder(name, model.network.feature_length, model.sha256, extract)
