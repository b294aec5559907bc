"""Structural similarity of images (Wang et al. 2004), one number for each pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from dgaug.errors import DgaugError
from dgaug.scores.quality.image_sets import Sample, donor_images
from dgaug.store.sources import Sources

GAUSSIAN_SIZE, GAUSSIAN_SIGMA = 11, 1.5
UNIFORM_SIZE = 7
K1, K2 = 0.01, 0.03


def ssim(
    first: Tensor | npt.NDArray[Any],
    second: Tensor | npt.NDArray[Any],
    *,
    data_range: float | None = None,
    window: Literal["gaussian", "uniform"] = "gaussian",
) -> Tensor:
    """SSIM of each pair of images [N, H, W, C], averaged over the channels and over the windows that fit: [N].

    uint8 images have data range 255, floating ones 1 unless `data_range` says otherwise. `gaussian` is the standard:
    11 x 11, sigma 1.5, Wang et al. 2004, section III-C. `uniform` is 7 x 7 with sample covariance, the default of
    scikit-image, from which the published diversity comes.

    Raises:
        DgaugError: different shapes or types, or images smaller than the window.
    """
    left, right = torch.as_tensor(first), torch.as_tensor(second)
    kernel = _window(window)
    if left.ndim != 4 or left.shape != right.shape or left.dtype != right.dtype:
        raise DgaugError(
            "SSIM: expected two sets of images [N, H, W, C] of one shape and type, found "
            f"{list(left.shape)} {left.dtype} and {list(right.shape)} {right.dtype}"
        )
    if min(left.shape[1:3]) < len(kernel):
        raise DgaugError(f"SSIM: images must be at least {len(kernel)} pixels high and wide, found {left.shape[1:3]}")
    if data_range is None:
        data_range = 1.0 if left.dtype.is_floating_point else 255.0
    dtype = torch.promote_types(left.dtype, torch.float32)
    x, y = (image.permute(0, 3, 1, 2).to(dtype) / data_range for image in (left, right.to(left.device)))
    moments = [_filter(values, kernel.to(x)) for values in (x, y, x * x, y * y, x * y)]
    samples = UNIFORM_SIZE**2
    return _ssim_map(*moments, correction=samples / (samples - 1) if window == "uniform" else 1.0).mean(dim=(1, 2, 3))


def ssim_parameters(window: Literal["gaussian", "uniform"] = "gaussian") -> dict[str, float | bool]:
    """What `ssim` computes, as keywords of scikit-image's `structural_similarity`, to be recorded beside a score."""
    fixed: dict[str, float | bool] = {"K1": K1, "K2": K2}
    if window == "uniform":
        return fixed | {"win_size": UNIFORM_SIZE, "gaussian_weights": False, "use_sample_covariance": True}
    gaussian = {"win_size": GAUSSIAN_SIZE, "gaussian_weights": True, "sigma": GAUSSIAN_SIGMA}
    return fixed | gaussian | {"use_sample_covariance": False}


def _ssim_map(
    mean_x: Tensor, mean_y: Tensor, mean_xx: Tensor, mean_yy: Tensor, mean_xy: Tensor, *, correction: float
) -> Tensor:
    """SSIM at every window from local means of x, y, x², y², xy in units of the data range (constants: K1, K2)."""
    c1, c2 = K1**2, K2**2
    variance_x = correction * (mean_xx - mean_x * mean_x)
    variance_y = correction * (mean_yy - mean_y * mean_y)
    covariance = correction * (mean_xy - mean_x * mean_y)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def _window(name: Literal["gaussian", "uniform"]) -> Tensor:
    """The window along one axis; both windows are separable."""
    if name == "uniform":
        return torch.full((UNIFORM_SIZE,), 1 / UNIFORM_SIZE, dtype=torch.float64)
    offset = torch.arange(GAUSSIAN_SIZE, dtype=torch.float64) - GAUSSIAN_SIZE // 2
    weights = torch.exp(-0.5 * (offset / GAUSSIAN_SIGMA) ** 2)
    return weights / weights.sum()


def _filter(values: Tensor, kernel: Tensor) -> Tensor:
    """Local means of [N, C, H, W] where the window lies inside the image."""
    planes = values.reshape(-1, 1, *values.shape[2:])
    filtered = conv2d(conv2d(planes, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return filtered.view(*values.shape[:2], *filtered.shape[2:])


def self_reconstruction(sample: Sample, sources: Sources, root: Path) -> dict[str, float]:
    """Pairs (i, i) against the image i itself: mean SSIM, and mean absolute error in grey levels."""
    size = sample.pixels.shape[1], sample.pixels.shape[2]
    real = donor_images(sources, np.asarray(sample.structure), root, size)
    similarity = ssim(torch.from_numpy(sample.pixels), torch.from_numpy(real))
    error = np.abs(sample.pixels.astype(np.float32) - real).mean()
    return {"ssim_self_reconstruction": float(similarity.mean()), "l1_self_reconstruction": float(error)}
