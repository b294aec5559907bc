"""One side of a distance: running moments of all its features and a sample of them, kept so that work resumes."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dgaug.data.loading import loaded
from dgaug.errors import DgaugError
from dgaug.files import file_sha256, whole
from dgaug.interrupts import StopRequest
from dgaug.progress import Progress, silent
from dgaug.scores.quality.encoders import Encoder
from dgaug.scores.quality.fid_protocols import Preparation
from dgaug.scores.quality.frechet import Gaussian, Moments, read_npz
from dgaug.scores.quality.image_sets import ImageSet, Pixels, Rows

BATCH = 50
KEPT = 10_000
"""Features that are kept one by one, for the scores that moments are not enough for: memory stays as it is."""
SAVE_EVERY = 60.0
"""Seconds of encoding that a kill may cost."""
ARRAYS = ("count", "sum", "outer", "features", "key", "encoder_sha256")


@dataclass
class Statistics:
    """Features of one set by one encoder.

    Attributes:
        moments: of all features so far.
        features: the first `KEPT` of them in the order of the rows, float32 [K, D] on the CPU.
        key: what they were made from, hashed.
        encoder_sha256: the encoder's weights.
    """

    moments: Moments
    features: Tensor
    key: str
    encoder_sha256: str

    def save(self, path: Path, *, complete: bool) -> None:
        """Write an npz whole; a complete one has `mu` and `sigma` too, and pytorch-fid reads it."""
        arrays: dict[str, Any] = self.moments.arrays() | {"features": self.features.numpy()}
        if complete:
            arrays |= {"mu": self.moments.mean.numpy(), "sigma": self.moments.covariance.numpy()}
        with whole(path) as aside:
            np.savez(aside, **arrays, key=np.array(self.key), encoder_sha256=np.array(self.encoder_sha256))

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """Read what `save` wrote; DgaugError where the file is not that."""
        arrays = read_npz(path, ARRAYS)
        features = torch.from_numpy(arrays["features"])
        return cls(Moments.of(arrays), features, str(arrays["key"]), str(arrays["encoder_sha256"]))


@dataclass(frozen=True)
class Given:
    """Statistics that a user gave as an npz: ours, or pytorch-fid's, which holds nothing but mean and covariance.

    Attributes:
        sha256: of the file.
        count: images; None where the file does not say.
        encoder_sha256: weights of the encoder; None where the file does not say.
    """

    path: Path
    sha256: str
    moments: Gaussian
    count: int | None
    encoder_sha256: str | None

    @classmethod
    def load(cls, path: Path) -> Given:
        """Read `mu` and `sigma`, and of our own files count and encoder.

        Raises:
            DgaugError: not such a file.
        """
        moments = Gaussian.load(path)
        others = read_npz(path, (), optional=("count", "encoder_sha256"))
        count = int(others["count"]) if "count" in others else None
        encoder = str(others["encoder_sha256"]) if "encoder_sha256" in others else None
        return cls(path, file_sha256(path), moments, count, encoder)

    def require(self, encoder: Encoder) -> None:
        """Refuse features of another encoder; DgaugError where that can be told."""
        if self.encoder_sha256 not in (None, encoder.sha256) or len(self.moments.mean) != encoder.dimension:
            weights = f"weights {self.encoder_sha256[:8]}" if self.encoder_sha256 else "unknown weights"
            raise DgaugError(
                f"{self.path}: statistics of {len(self.moments.mean)} numbers from an encoder with {weights}, "
                f"{encoder.name} gives {encoder.dimension} and has {encoder.sha256[:8]}; give those of the same encoder"
            )


@dataclass(frozen=True)
class Encoding:
    """How features are made and where they are kept.

    Attributes:
        folder: the cache; None: nothing is kept.
        workers: threads that read and decode images beside this one.
        stop: a signal that arrived: what is done is saved.
    """

    folder: Path | None = None
    workers: int = 0
    stop: StopRequest | None = None
    progress: Progress = silent


def statistics_of(
    images: ImageSet,
    rows: Rows,
    encoder: Encoder,
    *,
    preparation: Preparation,
    encoding: Encoding,
    title: str,
    digest: str,
    keep: int = KEPT,
) -> Statistics:
    """Statistics of the images at these rows, in their order: from the cache, or made and put there.

    Memory does not depend on their number. Work that was stopped resumes where it was saved, to the same bits.

    Args:
        digest: what `images.digest(rows)` gives.
        keep: how many features to keep one by one.

    Raises:
        DgaugError: fewer than two images, a damaged one, NaN among the features, or a cached file of something else.
        Interrupted: a signal arrived; what is done is saved where there is a cache.
    """
    if len(rows) < 2:
        raise DgaugError(f"{images.root}: at least 2 images are needed for a distance, found {len(rows)}")
    key = _key(digest, encoder, preparation, keep)
    path = None if encoding.folder is None else encoding.folder / f"{title}-{encoder.name}-{key[:16]}.npz"
    if path is not None and path.is_file():
        return _cached(path, key, len(rows))
    partial = None if path is None else path.with_suffix(".part.npz")
    statistics = Statistics(Moments.empty(encoder.dimension), torch.empty(0, encoder.dimension), key, encoder.sha256)
    if partial is not None and partial.is_file():
        statistics = _cached(partial, key, None)
    saved = time.monotonic()
    done = -(-statistics.moments.count // BATCH)
    with closing(_batches(images, rows, preparation, start=done, workers=encoding.workers)) as batches:
        for batch in batches:
            features = _encoded(encoder, batch)
            statistics.moments.update(features)
            missing = keep - len(statistics.features)
            statistics.features = (
                torch.cat((statistics.features, features[:missing])) if missing > 0 else statistics.features
            )
            encoding.progress(f"{title}: {encoder.name}", statistics.moments.count, len(rows))
            stopped = bool(encoding.stop)
            if partial is not None and (stopped or time.monotonic() - saved > SAVE_EVERY):
                statistics.save(partial, complete=False)
                saved = time.monotonic()
            if stopped and encoding.stop is not None:
                encoding.stop.leave()
    if path is not None and partial is not None:
        statistics.save(path, complete=True)
        partial.unlink(missing_ok=True)
    return statistics


def _batches(
    images: ImageSet, rows: Rows, preparation: Preparation, *, start: int, workers: int
) -> Generator[list[Pixels], None, None]:
    """Prepared images, so many at a time."""

    def read(number: int) -> list[Pixels]:
        return preparation(images.images(rows[number * BATCH : (number + 1) * BATCH]))

    # Images that are drawn on demand are drawn by the device that encodes them.
    drawn = images.store is not None and images.store.spec.virtual
    return loaded(read, range(start, -(-len(rows) // BATCH)), threads=0 if drawn else workers)


def _encoded(encoder: Encoder, batch: list[Pixels]) -> Tensor:
    """Features [B, D] of images of any sizes, on the CPU."""
    shapes = sorted({image.shape for image in batch})
    if len(shapes) == 1:
        return encoder(np.stack(batch)).cpu()
    features = torch.empty(len(batch), encoder.dimension)
    for shape in shapes:
        places = [place for place, image in enumerate(batch) if image.shape == shape]
        features[places] = encoder(np.stack([batch[place] for place in places])).cpu()
    return features


def _key(digest: str, encoder: Encoder, preparation: Preparation, keep: int) -> str:
    """Everything that moves the statistics, hashed."""
    content = {
        "pictures": digest,
        "encoder": [encoder.name, encoder.sha256],
        "preparation": preparation.described(),
        "batch": BATCH,
        "kept": keep,
        "versions": {name: metadata.version(name) for name in ("torch", "torchvision", "timm", "pillow")},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _cached(path: Path, key: str, count: int | None) -> Statistics:
    statistics = Statistics.load(path)
    if statistics.key != key or count not in (None, statistics.moments.count):
        raise DgaugError(
            f"{path}: expected statistics of these images and settings ({key[:8]}, {count} images), found those of "
            f"others ({statistics.key[:8]}, {statistics.moments.count} images); delete it and let it be made again"
        )
    return statistics
