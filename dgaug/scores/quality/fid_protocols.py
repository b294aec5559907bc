"""Named protocols: which pictures of each side a distance is taken over, and what is done to them first."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dgaug.errors import DgaugError
from dgaug.scores.quality.image_sets import PictureSet, Pixels, Rows, resized
from dgaug.seeding import draws

PROTOCOLS = ("clean", "published")
PUBLISHED_SIZE = (256, 128)
PUBLISHED_MOST = 12_936
PUBLISHED_BATCH = 50
PUBLISHED_JPEG = 75


@dataclass(frozen=True)
class Preparation:
    """What is done to a picture before an encoder sees it: saved as JPEG and read again, then resized (H, W)."""

    size: tuple[int, int] | None = None
    jpeg_quality: int | None = None

    def __call__(self, pictures: list[Pixels]) -> list[Pixels]:
        """Pictures uint8 [H, W, 3] each, prepared."""
        if self.jpeg_quality is not None:
            pictures = [_through_jpeg(picture, self.jpeg_quality) for picture in pictures]
        return pictures if self.size is None else resized(pictures, self.size)

    def described(self) -> dict[str, object]:
        """What a result records of it."""
        return {
            "resize": "none before the encoder's own" if self.size is None else f"Pillow bicubic to {list(self.size)}",
            "jpeg": "as stored" if self.jpeg_quality is None else f"saved once more, quality {self.jpeg_quality}",
        }


@dataclass(frozen=True)
class Protocol:
    """A named way of choosing and preparing.

    `clean`: the same number of pictures on both sides, the smaller set's, drawn by the seed, untouched: what
    pytorch-fid does with two folders of as many files.

    `published`: one generated picture for each appearance donor against all real ones, both resized to 256 x 128;
    pictures of a store go through JPEG 75 once more, of either side at most 12,936 are taken, and what is left of the
    last batch of 50 is dropped (method.md 6.1). The published figures come from the TensorFlow Inception and a draw of
    their own, so they are near, not equal.
    """

    name: str
    seed: int

    def __post_init__(self) -> None:
        if self.name not in PROTOCOLS:
            raise DgaugError(f"unknown protocol {self.name!r}; known are {', '.join(PROTOCOLS)}")

    def generated_rows(self, pictures: PictureSet, real_count: int | None) -> Rows:
        """Rows of the generated pictures, in the seed's order; `real_count` None: any number."""
        if self.name == "published":
            return self._published(pictures.one_per_appearance(self.seed), "generated order")
        return self._drawn(len(pictures), real_count, "generated order")

    def real_rows(self, pictures: PictureSet, generated_count: int | None) -> Rows:
        """Rows of the real pictures, in the seed's order."""
        if self.name == "published":
            return self._published(np.arange(len(pictures)), "real order")
        return self._drawn(len(pictures), generated_count, "real order")

    def preparation(self, pictures: PictureSet, *, generated: bool) -> Preparation:
        """What is done to the pictures of one side."""
        if self.name == "clean":
            return Preparation()
        through_jpeg = generated and pictures.store is not None
        return Preparation(PUBLISHED_SIZE, PUBLISHED_JPEG if through_jpeg else None)

    def _drawn(self, count: int, most: int | None, purpose: str) -> Rows:
        """At most `most` of `count` rows; few of very many take no memory for the others."""
        size = count if most is None else min(count, most)
        return draws(purpose, self.seed).choice(count, size=size, replace=False)

    def _published(self, rows: Rows, purpose: str) -> Rows:
        drawn = rows[self._drawn(len(rows), PUBLISHED_MOST, purpose)]
        return drawn[: len(drawn) // PUBLISHED_BATCH * PUBLISHED_BATCH or len(drawn)]


def _through_jpeg(picture: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))
