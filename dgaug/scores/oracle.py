"""On embedded data: generated pictures against the true picture of their pair, beside two copying baselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.toy import ToyWorld
from dgaug.scores.consistency import donor_pictures
from dgaug.scores.diversity import srgb_to_lab
from dgaug.scores.picture_sets import Sample
from dgaug.scores.ssim import ssim
from dgaug.store.sources import Sources

Pixels = NDArray[np.uint8]
GENERATED, COPY_STRUCTURE, COPY_APPEARANCE = "generated", "structure donor copied", "appearance donor copied"


def oracle_error(sample: Sample, sources: Sources, root: Path) -> dict[str, dict[str, float]]:
    """Errors against the true picture, by method: the generator and the two donors copied.

    `clothed_body` and `picture` are mean absolute errors in grey levels (0..255) on the clothed body (the garments of
    the true picture, by coverage) and on the whole picture; `ssim` is the structural similarity (-1..1).
    `clothed_body_delta_e` and `picture_delta_e` are mean colour differences in CIE Lab (CIE76: 0 is the same, about 2
    is just seen, 100 is black against white): what a colour error looks like, without a network.
    """
    if sample.appearance is None or sample.structure is None:
        raise ValueError("the oracle needs the donors of every picture")
    world, size = ToyWorld.open(root), (sample.pixels.shape[1], sample.pixels.shape[2])
    pairs = zip(sample.appearance, sample.structure, strict=True)
    body = np.stack([world.clothed_body(sources.path[a], sources.path[s], size) for a, s in pairs])[..., None]
    true = true_pictures(sample, sources, root)
    methods = {
        GENERATED: sample.pixels,
        COPY_STRUCTURE: donor_pictures(sources, sample.structure, root, size),
        COPY_APPEARANCE: donor_pictures(sources, sample.appearance, root, size),
    }
    return {name: _errors(pixels, true, body) for name, pixels in methods.items()}


def true_pictures(sample: Sample, sources: Sources, root: Path) -> Pixels:
    """The true pictures [M, H, W, 3] of a sample's pairs."""
    if sample.appearance is None or sample.structure is None:
        raise ValueError("true pictures need the donors of every picture")
    world, size = ToyWorld.open(root), (sample.pixels.shape[1], sample.pixels.shape[2])
    pairs = zip(sample.appearance, sample.structure, strict=True)
    return np.stack([world.true_picture(sources.path[a], sources.path[s], size) for a, s in pairs])


def colour_difference(first: Pixels, second: Pixels) -> NDArray[np.float32]:
    """CIE76 colour difference (Delta E) at every pixel of sRGB pictures uint8 [N, H, W, 3]: [N, H, W]."""
    one, other = (srgb_to_lab(torch.from_numpy(pixels)) for pixels in (first, second))
    return np.asarray((one - other).norm(dim=-1).numpy())


def _errors(pixels: Pixels, true: Pixels, body: NDArray[np.float32]) -> dict[str, float]:
    absolute = np.abs(pixels.astype(np.float32) - true)
    similarity = ssim(torch.from_numpy(pixels), torch.from_numpy(true))
    delta_e = colour_difference(pixels, true)
    return {
        "clothed_body": float((absolute * body).sum() / (body.sum() * 3)),
        "picture": float(absolute.mean()),
        "ssim": float(similarity.mean()),
        "clothed_body_delta_e": float((delta_e * body[..., 0]).sum() / body.sum()),
        "picture_delta_e": float(delta_e.mean()),
    }
