"""Whether a data set is enough to train on, and which image size fits its images."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dgaug.data.images import DamagedImage, open_image
from dgaug.data.records import IdentityData, Record
from dgaug.data.summary import counted

FEW_IDENTITIES = 20
"""Fewer are enough for a try, not for a result."""
SAMPLED = 32
"""Images that are opened to see their shape."""
SAME_SHAPE = 1.5
"""By which factor height / width may differ from that of the image size before people or things look squeezed."""
_STEP, _LEAST, _MOST = 16, (64, 32), 4096


@dataclass(frozen=True)
class Shape:
    """What the images of a training split are like.

    Attributes:
        ratio: median of height / width.
        seconds: to read and decode one, on average.
    """

    ratio: float
    seconds: float


def too_few(records: Sequence[Record]) -> list[str]:
    """Sentences on a training split that is too small; none where it is enough."""
    images = Counter(record.identity for record in records)
    single = sum(count == 1 for count in images.values())
    people = counted(len(images), "identity", "identities")
    if len(images) < 2:
        return [f"too few to train: {people}; at least two are needed to learn what tells them apart"]
    sentences = []
    if len(images) < FEW_IDENTITIES:
        sentences.append(
            f"few identities: {len(images)}; training runs with two, but below {FEW_IDENTITIES} they are too few for a "
            "meaningful result"
        )
    if 2 * single > len(images):
        which = "every identity has" if single == len(images) else f"{single:,} of {people} have"
        sentences.append(
            f"few images of each identity: {which} one image only; what stays the same about somebody is learned from "
            "several images of them"
        )
    return sentences


def typical_shape(data: IdentityData) -> Shape | None:
    """The shape of the training images, from a few spread evenly over them; None where none can be read."""
    records = data.splits.get("train", [])
    if not records:
        return None
    ratios, began = [], time.perf_counter()
    for place in np.linspace(0, len(records) - 1, min(SAMPLED, len(records))).round():
        try:
            image = open_image(data.image_path(records[int(place)]))
        except DamagedImage:
            continue
        ratios.append(image.height / image.width)
    seconds = time.perf_counter() - began
    return Shape(statistics.median(ratios), seconds / len(ratios)) if ratios else None


def fitting_size(size: tuple[int, int], ratio: float) -> tuple[int, int]:
    """An image size [H, W] of about the same area for images of another height / width; the same where it fits."""
    height, width = size
    if 1 / SAME_SHAPE <= height / width / ratio <= SAME_SHAPE:
        return size
    area = height * width
    sides = math.sqrt(area * ratio), math.sqrt(area / ratio)
    tall, wide = (
        min(_MOST, max(least, _STEP * round(side / _STEP))) for side, least in zip(sides, _LEAST, strict=True)
    )
    return tall, wide
