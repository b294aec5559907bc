"""Named protocols: which images of each side a distance is taken over, and what is done to them first."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dgaug.errors import DgaugError
from dgaug.scores.quality.image_sets import ImageSet, Pixels, Rows, resized
from dgaug.seeding import draws

PROTOCOLS = ("clean", "published")
PUBLISHED_SIZE = (256, 128)
PUBLISHED_MOST = 12_936
PUBLISHED_BATCH = 50
PUBLISHED_JPEG = 75


@dataclass(frozen=True)
class Preparation:
    """What is done to an image before an encoder sees it: saved as JPEG and read again, then resized (H, W)."""

    size: tuple[int, int] | None = None
    jpeg_quality: int | None = None

    def __call__(self, images: list[Pixels]) -> list[Pixels]:
        """Images uint8 [H, W, 3] each, prepared."""
        if self.jpeg_quality is not None:
            images = [_through_jpeg(image, self.jpeg_quality) for image in images]
        return images if self.size is None else resized(images, self.size)

    def described(self) -> dict[str, object]:
        """What a result records of it."""
        return {
            "resize": "none before the encoder's own" if self.size is None else f"Pillow bicubic to {list(self.size)}",
            "jpeg": "as stored" if self.jpeg_quality is None else f"saved once more, quality {self.jpeg_quality}",
        }


@dataclass(frozen=True)
class Protocol:
    """A named way of choosing and preparing.

    `clean`: the same number of images on both sides, the smaller set's, drawn by the seed, untouched: what
    pytorch-fid does with two folders of as many files.

    `published`: one generated image for each appearance donor against all real ones, both resized to 256 x 128;
    images of a store go through JPEG 75 once more, of either side at most 12,936 are taken, and what is left of the
    last batch of 50 is dropped (method.md 6.1). The published values come from the TensorFlow Inception and a draw of
    their own, so they are near, not equal.
    """

    name: str
    seed: int

    def __post_init__(self) -> None:
        if self.name not in PROTOCOLS:
            raise DgaugError(f"unknown protocol {self.name!r}; known are {', '.join(PROTOCOLS)}")

    def generated_rows(self, images: ImageSet, real_count: int | None) -> Rows:
        """Rows of the generated images, in the seed's order; `real_count` None: any number."""
        if self.name == "published":
            return self._published(images.one_per_appearance(self.seed), "generated order")
        return self._drawn(len(images), real_count, "generated order")

    def real_rows(self, images: ImageSet, generated_count: int | None) -> Rows:
        """Rows of the real images, in the seed's order."""
        if self.name == "published":
            return self._published(np.arange(len(images)), "real order")
        return self._drawn(len(images), generated_count, "real order")

    def preparation(self, images: ImageSet, *, generated: bool) -> Preparation:
        """What is done to the images of one side."""
        if self.name == "clean":
            return Preparation()
        through_jpeg = generated and images.store is not None
        return Preparation(PUBLISHED_SIZE, PUBLISHED_JPEG if through_jpeg else None)

    def _drawn(self, count: int, most: int | None, purpose: str) -> Rows:
        """At most `most` of `count` rows; few of very many take no memory for the others."""
        size = count if most is None else min(count, most)
        return draws(purpose, self.seed).choice(count, size=size, replace=False)

    def _published(self, rows: Rows, purpose: str) -> Rows:
        drawn = rows[self._drawn(len(rows), PUBLISHED_MOST, purpose)]
        return drawn[: len(drawn) // PUBLISHED_BATCH * PUBLISHED_BATCH or len(drawn)]


def _through_jpeg(image: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))
