"""Whether a generated image keeps the structure donor's: grey values and edges."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

from dgaug.errors import DgaugError
from dgaug.models.structure_encoder import grey
from dgaug.scores.quality.ssim import ssim

Pixels = NDArray[np.uint8]
STRUCTURE_DONOR, APPEARANCE_DONOR = "structure donor", "appearance donor"
CONSTANT = 1e-9
"""Images in 0..1 whose deviations are shorter than this differ by rounding only; one grey level gives 1e-3."""
SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def structure_consistency(generated: Pixels, structure: Pixels, appearance: Pixels) -> dict[str, dict[str, float]]:
    """How like the grey images of their donors the generated ones are, by donor; higher is more alike.

    Grey is the plain mean of the channels, which is what the structure encoder sees. For each donor, over all images:

    - `grey_ssim`: mean structural similarity (-1..1);
    - `grey_correlation`: mean of each image's Pearson correlation (-1..1), blind to brightness and contrast;
    - `edge_correlation`: the same of the Sobel magnitudes, blind to what lies between the edges.

    The structure donor's values should be high and the appearance donor's, the contrast, low. They cannot reach 1 with
    other clothes on: the true images of the embedded data say how far. An image of one grey correlates with nothing
    (0).

    Args:
        generated: uint8 [M, H, W, 3].
        structure: the structure donors, of the same shape.
        appearance: the appearance donors, of the same shape.

    Raises:
        DgaugError: other shapes or types, no image, or images smaller than SSIM's window.
    """
    for pixels in (generated, structure, appearance):
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape != generated.shape or not len(pixels):
            raise DgaugError(
                "structure consistency: expected generated images and donors uint8 [M, H, W, 3] of one shape, found "
                f"{pixels.dtype} {list(pixels.shape)} beside {list(generated.shape)}"
            )
    seen = _grey(generated)
    donors = {STRUCTURE_DONOR: _grey(structure), APPEARANCE_DONOR: _grey(appearance)}
    return {name: _likeness(seen, donor) for name, donor in donors.items()}


def grey_ssim(first: Pixels, second: Pixels) -> NDArray[np.float64]:
    """Structural similarity [M] (-1..1) of the grey images of each pair, both uint8 [M, H, W, 3]."""
    return _similarity(_grey(first), _grey(second)).numpy()


def sobel_magnitude(images: Tensor) -> Tensor:
    """Length of the Sobel gradient of [N, 1, H, W], where its window fits: [N, 1, H - 2, W - 2]."""
    across = images.new_tensor(SOBEL)
    gradient = conv2d(images, torch.stack((across, across.T))[:, None])
    return gradient.square().sum(dim=1, keepdim=True).sqrt()


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation of each pair of images [N, ...] in float64: [N]; 0 where one of them is constant."""
    x, y = (values.flatten(1) - values.flatten(1).mean(dim=1, keepdim=True) for values in (first, second))
    x_length, y_length = x.norm(dim=1), y.norm(dim=1)
    varied = (x_length > CONSTANT) & (y_length > CONSTANT)
    return torch.where(varied, (x * y).sum(dim=1) / (x_length * y_length).clamp_min(CONSTANT**2), 0.0)


def _grey(pixels: Pixels) -> Tensor:
    """Grey images float64 [M, 1, H, W] in 0..1."""
    return grey(torch.from_numpy(pixels).permute(0, 3, 1, 2).double()) / 255


def _similarity(seen: Tensor, donor: Tensor) -> Tensor:
    return ssim(seen.permute(0, 2, 3, 1), donor.permute(0, 2, 3, 1), data_range=1.0)


def _likeness(seen: Tensor, donor: Tensor) -> dict[str, float]:
    return {
        "grey_ssim": float(_similarity(seen, donor).mean()),
        "grey_correlation": float(correlation(seen, donor).mean()),
        "edge_correlation": float(correlation(sobel_magnitude(seen), sobel_magnitude(donor)).mean()),
    }
