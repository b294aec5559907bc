"""How much the images within an identity differ: the published table's "SSIM" column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dgaug.errors import DgaugError
from dgaug.scores.quality.image_sets import ImageSet
from dgaug.scores.quality.ssim import ssim

LAB_RANGE = 100.0
# CIE XYZ (2° observer, D65) of linear sRGB, and its white: IEC 61966-2-1.
XYZ_OF_RGB = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
PER_IDENTITY = 10


def diversity(generated: ImageSet, seed: int) -> float:
    """The published table's dissimilarity within appearance identities, over a few images of each."""
    store = generated.store
    if store is None:
        raise ValueError("diversity needs to know the appearance donors")
    identity = store.sources.identity[generated.pairs()[:, 0]]
    rows = {
        store.sources.class_name[label]: generated.choice(PER_IDENTITY, seed, among=np.flatnonzero(identity == label))
        for label in np.unique(identity)
    }
    return diversity_dssim({name: list(generated.at(chosen).pixels) for name, chosen in rows.items()}, seed=seed)


def diversity_dssim(
    images_by_identity: Mapping[str, Sequence[npt.NDArray[np.uint8]]],
    *,
    seed: int,
    pairs: int = 10,
    rounds: int = 5,
    device: torch.device | str = "cpu",
) -> float:
    """(1 - SSIM) / 2 in CIE Lab between random images of one identity: higher is more diverse, 0 is all the same.

    Every round draws `pairs` pairs of two different images from each identity, uint8 [H, W, 3], that has two; the
    value is (max + min) / 2 of the running mean after each round. SSIM has scikit-image's default window, data range
    100. This is what the published DG-Net table calls SSIM; it needs no ground truth.

    Raises:
        DgaugError: no identity has two images, or an identity's images differ in size.
    """
    folders = [images_by_identity[name] for name in sorted(images_by_identity)]
    folders = [images for images in folders if len(images) >= 2]
    if not folders or pairs < 1 or rounds < 1:
        raise DgaugError(
            f"diversity: {rounds} rounds of {pairs} pairs need at least one identity with two images, found "
            f"{len(folders)} of {len(images_by_identity)} identities with two"
        )
    generator = np.random.default_rng(seed)
    total, running_means = 0.0, []
    for done in range(1, rounds + 1):
        total += sum(float(_random_pairs_dssim(images, pairs, generator, device).sum()) for images in folders)
        running_means.append(total / (done * pairs * len(folders)))
    return (max(running_means) + min(running_means)) / 2


def srgb_to_lab(pixels: Tensor) -> Tensor:
    """CIE Lab (D65) of sRGB pixels uint8 [..., 3]: float32 [..., 3], L in 0..100."""
    encoded = pixels.float() / 255
    linear = torch.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    relative = linear @ linear.new_tensor(XYZ_OF_RGB).T / linear.new_tensor(WHITE)
    x, y, z = torch.where(relative > 0.008856, relative.pow(1 / 3), 7.787 * relative + 16 / 116).unbind(-1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-1)


def _random_pairs_dssim(
    images: Sequence[npt.NDArray[np.uint8]], pairs: int, generator: np.random.Generator, device: torch.device | str
) -> Tensor:
    """(1 - SSIM) / 2 of `pairs` random pairs of different images: [pairs]."""
    drawn = np.array([generator.choice(len(images), 2, replace=False) for _ in range(pairs)])
    chosen = [images[int(row)] for row in drawn.T.ravel()]
    shapes = {image.shape for image in chosen}
    if len(shapes) > 1:
        raise DgaugError(f"diversity: the images of one identity must have one size, found {sorted(shapes)}")
    first, second = srgb_to_lab(torch.from_numpy(np.stack(chosen)).to(device)).chunk(2)
    return (1 - ssim(first, second, data_range=LAB_RANGE, window="uniform")) / 2
