"""Six near-neutral places, one per camera in turn: what is behind the person, with depth and a little texture."""

from __future__ import annotations

import math
import random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from dgaug.data.toy.chance import chance
from dgaug.data.toy.structure import Structure

Grey = tuple[int, int, int]
Box = tuple[float, float, float, float]


class Place:
    """A small image of the scene being painted; coordinates are 0..1 down and 0..0.5 across, moved by the pan."""

    def __init__(self, shape: tuple[int, int], horizon: float, pan: float) -> None:
        self.height, self.width = shape
        self.horizon, self.pan = horizon, pan
        self.image = Image.new("RGB", (self.width, self.height))
        self.pen = ImageDraw.Draw(self.image)

    def box(self, box: Box, colour: Grey) -> None:
        """A filled upright rectangle: left, top, right, bottom."""
        x0, y0, x1, y1 = box
        self.pen.rectangle((x0 * 2 * self.width, y0 * self.height, x1 * 2 * self.width, y1 * self.height), fill=colour)

    def shape(self, outline: list[tuple[float, float]], colour: Grey) -> None:
        """A filled polygon."""
        self.pen.polygon([(x * 2 * self.width, y * self.height) for x, y in outline], fill=colour)

    def columns(self, pitch: float, speed: float = 0.5) -> list[float]:
        """Left ends of things that repeat every `pitch` across the view and move with the pan."""
        start = -((self.pan * speed) % pitch)
        return [start + k * pitch for k in range(math.ceil(0.5 / pitch) + 2)]

    def rays(self, pitch: float, colour: Grey, *, thick: float) -> None:
        """Joints of a pavement running towards the vanishing point."""
        for x in self.columns(pitch, 1.0):
            far, near = 0.25 + (x - 0.25) * 0.45, 0.25 + (x - 0.25) * 2.4
            self.shape(
                [(far, self.horizon), (far + thick * 0.3, self.horizon), (near + thick * 2, 1.02), (near, 1.02)], colour
            )

    def steps(self, colour: Grey, *, thick: float) -> None:
        """Joints of a pavement running across, closer together in the distance."""
        for k in range(1, 7):
            y = self.horizon + (1 - self.horizon) * (k / 7 + 0.1 * self.pan) ** 1.8
            self.box((0, y, 0.5, y + thick * (0.4 + k / 7)), colour)


def draw_background(structure: Structure, size: tuple[int, int]) -> NDArray[np.float32]:
    """The scene behind the person, float32 `[H, W, 3]` in 0..255; `size` is (H, W)."""
    scene = structure.scene
    draw = chance(scene.camera_seed, "place")
    place = Place((2 * size[0], 2 * size[1]), scene.horizon, scene.pan)
    _walls_and_floor(place, draw)
    _PLACES[scene.kind](place, draw)
    blurred = place.image.filter(ImageFilter.BoxBlur(size[0] / 50)).reduce(2)
    return np.asarray(blurred, dtype=np.float32) * _texture(scene.camera_seed, scene.pan, size)[..., None]


def _neutral(draw: random.Random, low: int, high: int) -> Grey:
    """A grey with a breath of colour."""
    value, warm = draw.randint(low, high), draw.randint(-7, 7)
    return (value + warm, value + draw.randint(-2, 2), value - warm)


def _scaled(colour: Grey, factor: float) -> Grey:
    return (round(colour[0] * factor), round(colour[1] * factor), round(colour[2] * factor))


def _walls_and_floor(place: Place, draw: random.Random) -> None:
    wall, floor = _neutral(draw, 165, 205), _neutral(draw, 140, 185)
    rows = 24
    for k in range(rows):
        top, bottom = k / rows, (k + 1) / rows
        place.box((0, place.horizon * top, 0.5, place.horizon * bottom), _scaled(wall, 1.06 - 0.14 * top))
        near = place.horizon + (1 - place.horizon) * top
        place.box((0, near, 0.5, near + (1 - place.horizon) / rows), _scaled(floor, 0.9 + 0.18 * top))


def _plaza(place: Place, draw: random.Random) -> None:
    trees, line = _neutral(draw, 118, 140), _neutral(draw, 128, 150)
    for k, x in enumerate(place.columns(0.16)):
        place.box(
            (x, place.horizon - 0.16 - 0.05 * (k % 2), x + 0.13, place.horizon), _scaled(trees, 1.0 + 0.06 * (k % 3))
        )
    place.steps(line, thick=0.008)
    place.rays(0.16, line, thick=0.008)


def _street(place: Place, draw: random.Random) -> None:
    road, kerb = _neutral(draw, 108, 126), _neutral(draw, 196, 214)
    low = place.horizon + 0.2
    place.box((0, place.horizon, 0.5, low), road)
    for x in place.columns(0.3, 1.0):
        place.box((x, place.horizon + 0.09, x + 0.14, place.horizon + 0.105), kerb)
    place.box((0, low, 0.5, low + 0.022), kerb)
    place.box((0, low + 0.022, 0.5, low + 0.05), _scaled(kerb, 0.62))
    for x in place.columns(0.34):
        place.box((x + 0.05, 0.0, x + 0.075, low), _scaled(road, 0.72))


def _lawn(place: Place, draw: random.Random) -> None:
    grass, hedge, path = (134, 142, 124), (98, 106, 94), _neutral(draw, 182, 200)
    place.box((0, place.horizon, 0.5, 1.0), grass)
    place.box((0, place.horizon - 0.13, 0.5, place.horizon + 0.02), hedge)
    for x in place.columns(0.22):
        place.box((x, 0, x + 0.045, place.horizon), _scaled(hedge, 0.78))
    bend = 0.1 * (place.pan - 0.5)
    top = place.horizon + 0.12
    place.shape([(0.0, top), (0.5, top - bend), (0.9, 1.02), (-0.4, 1.02)], path)


def _corridor(place: Place, draw: random.Random) -> None:
    base, door = _neutral(draw, 118, 138), _neutral(draw, 128, 150)
    for x in place.columns(0.36):
        place.box((x + 0.04, 0.04, x + 0.19, place.horizon), door)
        place.box((x + 0.06, 0.07, x + 0.17, place.horizon - 0.1), _scaled(door, 1.25))
    place.box((0, place.horizon - 0.025, 0.5, place.horizon), base)
    place.steps(_neutral(draw, 128, 148), thick=0.006)
    place.rays(0.12, _neutral(draw, 128, 148), thick=0.006)


def _facade(place: Place, draw: random.Random) -> None:
    glass, frame = _neutral(draw, 112, 134), _neutral(draw, 205, 222)
    for x in place.columns(0.21):
        place.box((x + 0.02, 0.0, x + 0.165, place.horizon - 0.08), frame)
        place.box((x + 0.035, 0.0, x + 0.15, place.horizon - 0.095), glass)
    place.box((0, place.horizon - 0.03, 0.5, place.horizon), _scaled(glass, 0.8))
    place.rays(0.22, _neutral(draw, 126, 146), thick=0.01)


def _fence(place: Place, draw: random.Random) -> None:
    rail, far = _neutral(draw, 92, 112), _neutral(draw, 150, 168)
    place.box((0, place.horizon - 0.2, 0.5, place.horizon), far)
    for x in place.columns(0.062, 1.0):
        place.box((x, place.horizon - 0.17, x + 0.014, place.horizon + 0.1), rail)
    for y in (place.horizon - 0.17, place.horizon + 0.06):
        place.box((0, y, 0.5, y + 0.016), rail)
    place.steps(_neutral(draw, 136, 152), thick=0.009)


_PLACES = (_plaza, _street, _facade, _corridor, _fence, _lawn)


def _texture(camera_seed: int, pan: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """Slow unevenness around 1, `[H, W]`, the same whatever the size."""
    draw = chance(camera_seed, "texture", round(pan * 1e6))
    coarse = np.array([[draw.uniform(-1, 1) for _ in range(9)] for _ in range(17)], dtype=np.float32)
    smooth = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) * np.float32(0.035) + np.float32(1)
