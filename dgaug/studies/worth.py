"""How many real images generated ones are worth: read off the learning curve of the real-only models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from dgaug.seeding import draws
from dgaug.studies.study import CONFIDENCE

RESAMPLES = 2000
SMALLEST_REPEATS = 3
"""Of two repeats a bootstrap has three different samples: no interval."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Worth:
    """What generated images are worth at one point of the curve.

    Attributes:
        images: real training images there.
        equivalent: real images with which a real-only model reaches the same metric.
        low, high: of `equivalent`, 95 % interval by bootstrap over the repeats.
        beyond: `above` where the metric is higher than the curve's highest, so that `equivalent` is the largest
            number of images tried and a lower bound; `below` likewise; None: within the curve.
        low_beyond, high_beyond: the same of the interval's ends.
    """

    images: float
    equivalent: float
    low: float
    high: float
    beyond: str | None
    low_beyond: str | None
    high_beyond: str | None

    @property
    def more(self) -> float:
        """k: how many further real images the generated ones are worth; negative where they do harm."""
        return self.equivalent - self.images

    def described(self) -> dict[str, object]:
        """For `results.json`: the attributes, k and the factor."""
        return asdict(self) | {"worth": self.more, "factor": self.equivalent / self.images}


def worth(sizes: Sequence[float], real: Sequence[Sequence[float]], fed: Sequence[float], images: float) -> Worth:
    """Read the mean of `fed` off the curve of `real`, with an interval by bootstrap over the repeats.

    Args:
        sizes: real training images at each point, ascending [F].
        real: the metric of real-only models, by point and repeat [F, R].
        fed: the metric of the fed models at one point, by repeat [R]; resampled together with `real`.
        images: real training images at that point.
    """
    table, values, log_sizes = np.asarray(real, float), np.asarray(fed, float), np.log(np.asarray(sizes, float))
    repeats = table.shape[1]
    chosen = draws("worth", 0).integers(repeats, size=(RESAMPLES, repeats))
    sampled = sorted(equivalent(log_sizes, table[:, rows].mean(axis=1), float(values[rows].mean())) for rows in chosen)
    tail = (1 - CONFIDENCE) / 2
    low, high = sampled[int(tail * RESAMPLES)], sampled[int((1 - tail) * RESAMPLES) - 1]
    middle = equivalent(log_sizes, table.mean(axis=1), float(values.mean()))
    numbers = [_images(one, sizes) for one in (middle, low, high)]
    beyond = [None if np.isfinite(one) else "above" if one > 0 else "below" for one in (middle, low, high)]
    return Worth(images, numbers[0], numbers[1], numbers[2], beyond[0], beyond[1], beyond[2])


def _images(place: float, sizes: Sequence[float]) -> float:
    """Images at a place of the logarithmic axis; the first or last number of the curve beyond it."""
    if np.isinf(place):
        return float(sizes[-1] if place > 0 else sizes[0])
    return float(np.exp(place))


def equivalent(places: Floats, metric: Floats, value: float) -> float:
    """Where a monotone curve through the points (places, metric) reaches a value; infinite outside of it.

    The curve is linear between the points after isotonic regression; where it is flat, its first place counts.
    """
    curve = isotonic(metric)
    if value > curve[-1]:
        return float("inf")
    if value < curve[0]:
        return float("-inf")
    right = int(np.argmax(curve >= value))
    if right == 0:
        return float(places[0])
    below, above = curve[right - 1], curve[right]
    return float(places[right - 1] + (value - below) / (above - below) * (places[right] - places[right - 1]))


def isotonic(values: Floats) -> Floats:
    """The closest ascending values [F] by least squares (pool adjacent violators)."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, count = value, 1
        while blocks and blocks[-1][0] > mean:
            before, size = blocks.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        blocks.append((mean, count))
    return np.concatenate([np.full(count, mean) for mean, count in blocks])
