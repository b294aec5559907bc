"""Distances between the real and the generated set: Fréchet (FID) and kernel (KID), by protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.chance import draws
from dgaug.data.images import open_picture, to_pixels
from dgaug.data.records import IdentityData
from dgaug.progress import Progress
from dgaug.scores.encoders import Encoder
from dgaug.scores.frechet import Moments, frechet_distance
from dgaug.scores.generated import GeneratedPictures
from dgaug.scores.kernel import kernel_distance

BATCH = 64
KERNEL_SUBSET = 1000


@dataclass(frozen=True)
class Sampling:
    """Which pictures a distance is taken over.

    `clean`: the same number on both sides, the smaller set's, drawn by the seed. `published`: one generated picture
    per appearance donor against all real ones (method: FID as actually computed).
    """

    protocol: str
    seed: int
    generated: int
    real: int

    def generated_rows(self, pictures: GeneratedPictures) -> NDArray[np.int64]:
        """Rows of the generated pictures."""
        if self.protocol == "published":
            return pictures.one_per_appearance(self.seed)
        return pictures.choice(min(self.generated, self.real), self.seed)

    def real_rows(self) -> NDArray[np.int64]:
        """Rows of the real training pictures."""
        count = self.real if self.protocol == "published" else min(self.generated, self.real)
        return np.sort(draws("real sample", self.seed).permutation(self.real)[:count])

    def generated_count(self, pictures: GeneratedPictures) -> int:
        """How many generated pictures are looked at."""
        return len(self.generated_rows(pictures))

    def real_count(self) -> int:
        """How many real pictures are looked at."""
        return len(self.real_rows())


def distances(
    generated: GeneratedPictures, real: IdentityData, encoder: Encoder, sampling: Sampling, *, progress: Progress
) -> dict[str, float]:
    """The encoder's Fréchet distance, and its kernel distance with spread, named after it."""
    real_features = _features(encoder, _real_batches(real, sampling, generated.image_size), progress)
    fake_features = _features(encoder, _generated_batches(generated, sampling), progress)
    subset = max(2, min(KERNEL_SUBSET, len(real_features) // 2, len(fake_features) // 2))
    kernel = kernel_distance(real_features, fake_features, subset_size=subset, seed=sampling.seed)
    return {
        encoder.frechet_key: frechet_distance(_moments(real_features), _moments(fake_features)),
        encoder.kernel_key: kernel.mean,
        f"{encoder.kernel_key}_spread": kernel.spread,
    }


def _moments(features: Tensor) -> Moments:
    moments = Moments.empty(features.shape[1])
    moments.update(features)
    return moments


def _features(encoder: Encoder, batches: Iterator[tuple[int, int, NDArray[np.uint8]]], progress: Progress) -> Tensor:
    parts = []
    for done, total, pixels in batches:
        parts.append(encoder(pixels).cpu())
        progress(f"features ({encoder.name})", done, total)
    return torch.cat(parts)


def _real_batches(
    real: IdentityData, sampling: Sampling, image_size: tuple[int, int]
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    rows, records = sampling.real_rows(), real.splits["train"]
    for start in range(0, len(rows), BATCH):
        paths = [real.picture_path(records[row]) for row in rows[start : start + BATCH]]
        pixels = np.stack([to_pixels(open_picture(path), image_size) for path in paths])
        yield min(start + BATCH, len(rows)), len(rows), pixels


def _generated_batches(
    generated: GeneratedPictures, sampling: Sampling
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    rows = sampling.generated_rows(generated)
    for start in range(0, len(rows), BATCH):
        yield min(start + BATCH, len(rows)), len(rows), generated.at(rows[start : start + BATCH]).pixels
