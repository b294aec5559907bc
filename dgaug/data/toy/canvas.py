"""Where parts are painted one over the other: which part each sample shows, and how light falls on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Place = Sequence[float]  # x, y (and perhaps depth) in image heights
FULL = 128  # the grey value that stands for light 1.0

# Nested outlines, from rim to ridge: share of the half width, light there.
ROUNDNESS = ((1.0, 0.76), (0.84, 0.86), (0.66, 0.95), (0.44, 1.02), (0.2, 1.06))


class Part(IntEnum):
    """What a sample of the image shows."""

    BACKGROUND = 0
    SKIN = 1
    HAIR = 2
    UPPER = 3
    SECOND = 4
    LOWER = 5
    STRIPE = 6
    SHOES = 7
    SOLE = 8
    BAG = 9
    BAG_TRIM = 10
    CAP = 11
    SHIRT = 12
    MIXED = 13


CLOTHED = (
    Part.UPPER, Part.SECOND, Part.LOWER, Part.STRIPE, Part.SHOES, Part.SOLE, Part.BAG, Part.BAG_TRIM, Part.CAP,
    Part.SHIRT, Part.MIXED,
)  # fmt: skip


class Canvas:
    """A supersampled image of part numbers and of light; the scene is 2:1 and stretched to the size."""

    def __init__(self, size: tuple[int, int], *, light_side: float, contrast: float) -> None:
        height, width = size
        self.samples = 4 if height <= 80 else 3
        shape = (width * self.samples, height * self.samples)
        self.across, self.down = shape[0] * 2.0, float(shape[1])
        self.light_side, self.contrast = light_side, contrast
        self._parts, self._light = Image.new("L", shape, int(Part.BACKGROUND)), Image.new("L", shape, round(FULL * 0.8))
        self._part_pen, self._light_pen = ImageDraw.Draw(self._parts), ImageDraw.Draw(self._light)

    def parts(self) -> NDArray[np.uint8]:
        """Part numbers, `[H * samples, W * samples]`."""
        return np.asarray(self._parts)

    def light(self) -> NDArray[np.uint8]:
        """Light on each sample, `FULL` for 1, `[H * samples, W * samples]`."""
        # The blur joins the nested outlines to a smooth roundness.
        return np.asarray(self._light.filter(ImageFilter.BoxBlur(self.down * 0.006)))

    def tube(
        self, places: Sequence[Place], radii: Sequence[float], part: Part, *, tone: float = 1.0, hem: bool = False
    ) -> None:
        """A round bent limb through `places` with these half widths (image heights); `hem` cuts its end straight."""
        joints = len(places) - hem
        for share, light in ROUNDNESS:
            grey = self._grey(light * tone)
            shifted = [
                (p[0] + self._shift(r, share), p[1] - 0.25 * r * (1 - share))
                for p, r in zip(places, radii, strict=True)
            ]
            for place, radius in zip(shifted[:joints], radii, strict=False):
                self._disc(place, radius * share, part if share == 1.0 else None, grey)
            for k in range(len(shifted) - 1):
                quad = _sleeve(shifted[k], shifted[k + 1], radii[k] * share, radii[k + 1] * share)
                self._fill(quad, part if share == 1.0 else None, grey)

    def stack(self, centres: Sequence[Place], widths: Sequence[float], part: Part, *, tone: float = 1.0) -> None:
        """A round body given from top to bottom by centres and half widths (image heights)."""
        for share, light in ROUNDNESS:
            middles = [c[0] + self._shift(w, share) for c, w in zip(centres, widths, strict=True)]
            left = [(m - w * share, c[1]) for m, c, w in zip(middles, centres, widths, strict=True)]
            right = [(m + w * share, c[1]) for m, c, w in zip(middles, centres, widths, strict=True)]
            self._fill(left + right[::-1], part if share == 1.0 else None, self._grey(light * tone))

    def patch(self, outline: Sequence[Place], part: Part, *, light: float | None = None) -> None:
        """A flat piece on top of what is there; it keeps the light that falls there unless `light` is given."""
        if not outline:
            return
        points = self._pixels(outline)
        self._part_pen.polygon(points, fill=int(part))
        if light is not None:
            self._light_pen.polygon(points, fill=self._grey(light))

    def crease(self, outline: Sequence[Place], light: float) -> None:
        """A fold or cast shadow: changes the light only."""
        if not outline:
            return
        self._light_pen.polygon(self._pixels(outline), fill=self._grey(light))

    def stamp(self, corner: tuple[int, int], mask: NDArray[np.bool_], part: Part, light: NDArray[np.float32]) -> None:
        """Samples computed elsewhere, at a corner (x, y) in samples."""
        stencil = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8))
        self._parts.paste(int(part), corner, stencil)
        grey = np.clip(light * FULL, 0, 255).astype(np.uint8)
        self._light.paste(Image.fromarray(grey), corner, stencil)

    def _shift(self, width: float, share: float) -> float:
        return 0.62 * self.light_side * width * (1 - share)

    def _grey(self, light: float) -> int:
        return max(0, min(255, round(FULL * (1 + (light - 1) * self.contrast))))

    def _pixels(self, outline: Sequence[Place]) -> list[tuple[float, float]]:
        return [(place[0] * self.across, place[1] * self.down) for place in outline]

    def _fill(self, outline: Sequence[Place], part: Part | None, grey: int) -> None:
        points = self._pixels(outline)
        self._light_pen.polygon(points, fill=grey)
        if part is not None:
            self._part_pen.polygon(points, fill=int(part))

    def _disc(self, place: Place, radius: float, part: Part | None, grey: int) -> None:
        x, y, wide, high = place[0] * self.across, place[1] * self.down, radius * self.across, radius * self.down
        box = (x - wide, y - high, x + wide, y + high)
        self._light_pen.ellipse(box, fill=grey)
        if part is not None:
            self._part_pen.ellipse(box, fill=int(part))


def _sleeve(start: Place, end: Place, first: float, second: float) -> list[tuple[float, float]]:
    """The four-sided piece between two discs."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy) or 1.0
    nx, ny = -dy / length, dx / length
    return [
        (start[0] + nx * first, start[1] + ny * first),
        (end[0] + nx * second, end[1] + ny * second),
        (end[0] - nx * second, end[1] - ny * second),
        (start[0] - nx * first, start[1] - ny * first),
    ]
