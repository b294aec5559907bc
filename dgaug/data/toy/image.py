"""From an appearance and a structure to an image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgaug.data.toy.appearance import Appearance, Colour, Pattern, Upper
from dgaug.data.toy.background import draw_background
from dgaug.data.toy.canvas import CLOTHED, FULL, Canvas, Part
from dgaug.data.toy.figure import draw_figure
from dgaug.data.toy.skeleton import Skeleton, skeleton
from dgaug.data.toy.structure import Structure
from dgaug.errors import DgaugError

SMALLEST_SIDE = 16
_STRIPE = 0.052  # statures: three pixels of an image 64 high


def render(appearance: Appearance, structure: Structure, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The true image of this appearance on this structure: RGB, uint8 `[H, W, 3]`; `size` is (H, W).

    The scene is twice as high as wide and is stretched to other proportions, as re-id loaders do.

    Raises:
        DgaugError: a side of `size` is below 16 pixels.
    """
    canvas, figure = _draw(appearance, structure, size)
    parts = _with_pattern(canvas, figure, appearance)
    lit = np.take(_palette(appearance), parts, axis=0) * canvas.light().astype(np.uint16)[..., None] // FULL
    person = _reduced(np.minimum(lit, 255).astype(np.uint8), canvas.samples)
    covered = _reduced(np.where(parts == Part.BACKGROUND, 0, 255).astype(np.uint8), canvas.samples)[..., None] / 255
    behind = draw_background(structure, size) * _ground_shadow(figure, size)[..., None]
    image = (person + (1 - covered) * behind) * np.asarray(structure.light.gain, np.float32)
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)


def clothed_body(appearance: Appearance, structure: Structure, size: tuple[int, int]) -> NDArray[np.float32]:
    """How much of each pixel of `render(appearance, structure, size)` shows garments, shoes or bag.

    float32 `[H, W]`, 0..1; the union of garments, shoes, cap and bag, without skin and hair.

    Raises:
        DgaugError: a side of `size` is below 16 pixels.
    """
    canvas, _ = _draw(appearance, structure, size)
    clothed = np.zeros(max(Part) + 1, dtype=np.uint8)
    clothed[list(CLOTHED)] = 255
    return _reduced(np.take(clothed, canvas.parts()), canvas.samples) / np.float32(255)


def check_size(size: tuple[int, int]) -> None:
    """Raise DgaugError unless `size` is (H, W) with both sides at least 16."""
    if len(size) != 2 or min(size) < SMALLEST_SIDE:
        raise DgaugError(
            f"toy image size: expected (height, width), each at least {SMALLEST_SIDE}, found {tuple(size)}"
        )


def _draw(appearance: Appearance, structure: Structure, size: tuple[int, int]) -> tuple[Canvas, Skeleton]:
    check_size(size)
    light = structure.light
    canvas, figure = Canvas(size, light_side=light.side, contrast=light.contrast), skeleton(structure)
    draw_figure(canvas, figure, appearance)
    return canvas, figure


def _palette(appearance: Appearance) -> NDArray[np.uint16]:
    """Colour of each part, `[parts, 3]`; the background stays black."""
    palette = np.zeros((max(Part) + 1, 3), dtype=np.float32)
    colours: dict[Part, Colour] = {
        Part.SKIN: appearance.skin_tone,
        Part.HAIR: appearance.hair_colour,
        Part.UPPER: appearance.upper_colour,
        Part.SECOND: appearance.second_colour,
        Part.SHIRT: appearance.second_colour,
        Part.LOWER: appearance.lower_colour,
        Part.STRIPE: (232, 232, 228) if sum(appearance.lower_colour) < 420 else (60, 62, 70),
        Part.SHOES: appearance.shoes_colour,
        Part.SOLE: (214, 212, 206) if sum(appearance.shoes_colour) < 500 else (150, 150, 150),
        Part.BAG: appearance.bag_colour,
        Part.CAP: appearance.cap_colour,
    }
    for part, colour in colours.items():
        palette[part] = colour
    palette[Part.BAG_TRIM] = palette[Part.BAG] * 0.72
    palette[Part.MIXED] = (palette[Part.UPPER] + palette[Part.SECOND]) / 2
    # Cloth is never quite black, or its shading would not show.
    palette[1:] = palette[1:] * 0.93 + 10
    return palette.astype(np.uint16)


def _with_pattern(canvas: Canvas, figure: Skeleton, appearance: Appearance) -> NDArray[np.uint8]:
    """The part of each sample, with the pattern printed on the upper garment."""
    parts = canvas.parts()
    if appearance.pattern in (Pattern.PLAIN, Pattern.SLEEVES, Pattern.LOGO):
        return parts
    upper_garment = parts == Part.UPPER
    rows, columns = np.flatnonzero(upper_garment.any(axis=1)), np.flatnonzero(upper_garment.any(axis=0))
    if not rows.size:
        return parts
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    printed = parts.copy()
    printed[window] = np.where(upper_garment[window], _pattern(canvas, figure, appearance, window), parts[window])
    return printed


def _pattern(
    canvas: Canvas, figure: Skeleton, appearance: Appearance, window: tuple[slice, slice]
) -> NDArray[np.uint8]:
    """UPPER, SECOND or MIXED, by distance below the shoulders and by angle around the trunk."""
    top, bottom = figure.project((0.0, 0.84, 0.0)), figure.project((0.0, 0.5, 0.0))
    y = ((np.arange(window[0].start, window[0].stop, dtype=np.float32) + 0.5) / canvas.down)[:, None]
    x = ((np.arange(window[1].start, window[1].stop, dtype=np.float32) + 0.5) / canvas.across)[None, :]
    tilt = (bottom.x - top.x) / (bottom.y - top.y)
    below = ((y - top.y) + (x - top.x) * tilt) / figure.unit
    aside = (x - top.x - (y - top.y) * tilt) / figure.half_width(0.118, 0.09)
    if appearance.pattern is Pattern.YOKE:
        deep = 0.2 if appearance.upper in (Upper.COAT, Upper.DRESS) else 0.125
        return np.where(below < deep, Part.SECOND, Part.UPPER).astype(np.uint8)
    around = np.arcsin(np.clip(aside, -1, 1)) - figure.structure.pose.facing
    across, along = below % (2 * _STRIPE) > _STRIPE, around % (math.pi / 3) > math.pi / 6
    if appearance.pattern is Pattern.CHECKS:
        return np.select([across & along, across | along], [Part.SECOND, Part.MIXED], Part.UPPER).astype(np.uint8)
    printed = along if appearance.pattern is Pattern.VERTICAL else across & (below > 0.03)
    return np.where(printed, Part.SECOND, Part.UPPER).astype(np.uint8)


def _ground_shadow(figure: Skeleton, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Light left on the ground around the feet, `[H, W]`."""
    middle, unit = figure.project((0.0, figure.drop, 0.0)), figure.unit
    y = ((np.arange(shape[0], dtype=np.float32) + 0.5) / shape[0])[:, None]
    x = ((np.arange(shape[1], dtype=np.float32) + 0.5) / shape[1] / 2)[None, :]
    away = middle.x - 0.05 * unit * figure.structure.light.side
    far = ((x - away) / (0.17 * unit)) ** 2 + ((y - middle.y - 0.004) / (0.032 * unit)) ** 2
    return (1 - np.float32(0.5) * np.exp(-far)).astype(np.float32)


def _reduced(samples: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Mean over squares of `factor` samples."""
    return np.asarray(Image.fromarray(samples).reduce(factor), dtype=np.float32)
