"""Mirroring and shifting of pictures on their device, as the loader does it to files (method: transforms)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dgaug.transfer import upload


def shifted(pictures: Tensor, pad: int, rng: np.random.Generator) -> Tensor:
    """Pictures [B, 3, H, W], each mirrored or not and moved by up to `pad` pixels; edges repeat their last pixel."""
    count, _, height, width = pictures.shape
    device = pictures.device
    mirrored = upload(rng.random(count) < 0.5, device)[:, None]
    by = upload(rng.integers(-pad, pad + 1, size=(2, count)), device)[..., None]
    rows = (torch.arange(height, device=device) + by[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + by[1]).clamp(0, width - 1)
    columns = torch.where(mirrored, width - 1 - columns, columns)
    places = torch.arange(count, device=device)
    return pictures[places[:, None, None], :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
