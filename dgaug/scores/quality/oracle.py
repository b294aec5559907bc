"""On embedded data: generated images against the true image of their pair, beside two copying baselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.toy import ToyWorld
from dgaug.scores.quality.diversity import srgb_to_lab
from dgaug.scores.quality.image_sets import Sample, donor_images
from dgaug.scores.quality.ssim import ssim
from dgaug.store.sources import Sources

Pixels = NDArray[np.uint8]
GENERATED, COPY_STRUCTURE, COPY_APPEARANCE = "generated", "structure donor copied", "appearance donor copied"


def oracle_error(sample: Sample, sources: Sources, root: Path) -> dict[str, dict[str, float]]:
    """Errors against the true image, by method: the generator and the two donors copied.

    `clothed_body` and `image` are mean absolute errors in grey levels (0..255) on the clothed body (the garments of
    the true image, by coverage) and on the whole image; `ssim` is the structural similarity (-1..1).
    `clothed_body_delta_e` and `picture_delta_e` are mean colour differences in CIE Lab (CIE76: 0 is the same, about 2
    is just seen, 100 is black against white): what a colour error looks like, without a network.
    """
    world, size, pairs = ToyWorld.open(root), _size(sample), _pairs(sample)
    body = _clothed_body(world, pairs, sources, size)
    true = true_images(sample, sources, root)
    methods = {
        GENERATED: sample.pixels,
        COPY_STRUCTURE: donor_images(sources, pairs[:, 1], root, size),
        COPY_APPEARANCE: donor_images(sources, pairs[:, 0], root, size),
    }
    return {name: _errors(pixels, true, body) for name, pixels in methods.items()}


def clothed_body_errors(sample: Sample, sources: Sources, root: Path) -> NDArray[np.float64]:
    """Mean absolute error of each generated image [M] on its clothed body, in grey levels (0..255)."""
    body = _clothed_body(ToyWorld.open(root), _pairs(sample), sources, _size(sample))
    absolute = np.abs(sample.pixels.astype(np.float32) - true_images(sample, sources, root))
    return np.asarray((absolute * body).sum((1, 2, 3)) / (3 * body.sum((1, 2, 3))), dtype=np.float64)


def true_images(sample: Sample, sources: Sources, root: Path) -> Pixels:
    """The true images [M, H, W, 3] of a sample's pairs."""
    world, size = ToyWorld.open(root), _size(sample)
    return np.stack([world.true_image(sources.path[a], sources.path[s], size) for a, s in _pairs(sample)])


def _size(sample: Sample) -> tuple[int, int]:
    return sample.pixels.shape[1], sample.pixels.shape[2]


def _pairs(sample: Sample) -> NDArray[np.int64]:
    if sample.appearance is None or sample.structure is None:
        raise ValueError("true images need the donors of every image")
    return np.stack([sample.appearance, sample.structure], axis=1)


def _clothed_body(
    world: ToyWorld, pairs: NDArray[np.int64], sources: Sources, size: tuple[int, int]
) -> NDArray[np.float32]:
    """Coverage of the garments in the true image of each pair [M, H, W, 1]."""
    return np.stack([world.clothed_body(sources.path[a], sources.path[s], size) for a, s in pairs])[..., None]


def colour_difference(first: Pixels, second: Pixels) -> NDArray[np.float32]:
    """CIE76 colour difference (Delta E) at every pixel of sRGB images uint8 [N, H, W, 3]: [N, H, W]."""
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
