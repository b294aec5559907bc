"""Head, face and hair: an ellipsoid whose hairline is drawn on its surface, so that every facing is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dgaug.data.toy.canvas import Canvas, Part
from dgaug.data.toy.skeleton import Joint, Point, Row, Skeleton
from dgaug.data.toy.structure import Hair

_CENTRE: Joint = (0.0, 0.93, 0.014)
_ACROSS, _UP, _FORWARD = 0.049, 0.070, 0.059
Samples = NDArray[np.float32]

_HANGING: dict[Hair, tuple[Row, ...]] = {
    Hair.LONG: (
        (0.955, 0.050, 0.050, -0.010),
        (0.900, 0.062, 0.046, -0.022),
        (0.840, 0.064, 0.036, -0.036),
        (0.790, 0.056, 0.029, -0.050),
        (0.765, 0.036, 0.018, -0.056),
    ),
    Hair.BOB: (
        (0.955, 0.052, 0.055, -0.004),
        (0.910, 0.062, 0.056, -0.010),
        (0.878, 0.058, 0.050, -0.016),
        (0.866, 0.044, 0.036, -0.016),
    ),
}
_PONYTAIL: tuple[Joint, ...] = ((0.0, 0.965, -0.06), (0.0, 0.90, -0.088), (0.0, 0.80, -0.078))


@dataclass(frozen=True, slots=True)
class _Surface:
    """The seen half of an ellipsoid, sample by sample: directions to the person's left, up and forward (-1..1)."""

    corner: tuple[int, int]
    inside: NDArray[np.bool_]
    side: Samples
    up: Samples
    front: Samples
    light: Samples


def draw_neck(canvas: Canvas, figure: Skeleton) -> None:
    """The neck, shaded by the chin."""
    places = [figure.project((0.0, 0.835, -0.008)), figure.project((0.0, 0.895, 0.004))]
    canvas.tube(places, [0.034 * figure.unit, 0.029 * figure.unit], Part.SKIN, tone=0.82)


def draw_head(canvas: Canvas, figure: Skeleton) -> None:
    """Skull, eyes and the hair that lies on it; hair that hangs is drawn by `draw_hanging_hair`."""
    hair = figure.structure.body.hair
    _nose(canvas, figure)
    skull = _ellipsoid(canvas, figure, grow=1.0, lift=0.0)
    canvas.stamp(skull.corner, skull.inside, Part.SKIN, skull.light)
    for ear in (1.0, -1.0):
        _eye(canvas, figure, ear)
    if hair is Hair.BALD:
        return
    grow = {Hair.SHORT: 1.09, Hair.CAP: 1.1, Hair.BOB: 1.15, Hair.LONG: 1.13}.get(hair, 1.07)
    scalp = _ellipsoid(canvas, figure, grow=grow, lift=0.05)
    canvas.stamp(scalp.corner, scalp.inside & _under_hair(hair, scalp), Part.HAIR, scalp.light)
    if hair is Hair.CAP:
        canvas.stamp(scalp.corner, scalp.inside & (scalp.up > 0.30 + 0.12 * scalp.front), Part.CAP, scalp.light)
        _brim(canvas, figure)


def draw_hanging_hair(canvas: Canvas, figure: Skeleton) -> None:
    """Long hair, bun or ponytail: behind the head seen from the front, over the back seen from behind."""
    hair, unit = figure.structure.body.hair, figure.unit
    if hair in _HANGING:
        canvas.stack(*figure.seen(_HANGING[hair]), Part.HAIR, tone=0.93)
    elif hair is Hair.BUN:
        knot = figure.project((0.0, 0.985, -0.045))
        canvas.tube([knot, knot], [0.031 * unit] * 2, Part.HAIR)
    elif hair is Hair.PONYTAIL:
        tail = [figure.project(joint) for joint in _PONYTAIL]
        canvas.tube(tail, [0.021 * unit, 0.026 * unit, 0.011 * unit], Part.HAIR)


def _under_hair(hair: Hair, scalp: _Surface) -> NDArray[np.bool_]:
    """Where the surface of the head is covered: above the hairline, behind the ears, down to the nape."""
    up, front = scalp.up, scalp.front
    fringe = 0.42 - 0.18 * np.abs(scalp.side)
    if hair in (Hair.LONG, Hair.BOB):
        covered = (up > fringe) | (front < 0.3 + 0.42 * up)
        return np.asarray(covered)
    nape = -0.42 if hair is Hair.SHORT else -0.3
    covered = (up > fringe + 0.04) | ((front < 0.06 + 0.28 * up) & (up > nape - 0.2 * front))
    return np.asarray(covered)


def _ellipsoid(canvas: Canvas, figure: Skeleton, *, grow: float, lift: float) -> _Surface:
    """The head, grown by a factor and lifted by a share of its half height."""
    middle = figure.project(_CENTRE)
    wide = figure.half_width(_ACROSS, _FORWARD) * grow * canvas.across
    high = _UP * figure.unit * grow * canvas.down
    x, y = middle.x * canvas.across, middle.y * canvas.down - lift * high
    left, top = math.floor(x - wide) - 1, math.floor(y - high) - 1
    columns = (np.arange(left, math.ceil(x + wide) + 1, dtype=np.float32) + 0.5 - x) / wide
    rows = (np.arange(top, math.ceil(y + high) + 1, dtype=np.float32) + 0.5 - y) / high
    down = rows[:, None] + 0 * columns[None, :]
    # The jaw is narrower than the brow.
    sideways = columns[None, :] / (1 - 0.24 * np.clip(down, 0, 1) ** 1.5)
    rest = 1 - sideways**2 - down**2
    depth = np.sqrt(np.clip(rest, 0, 1))
    facing = figure.structure.pose.facing
    side = sideways * math.cos(facing) - depth * math.sin(facing)
    front = sideways * math.sin(facing) + depth * math.cos(facing)
    towards = 0.5 * canvas.light_side * sideways - 0.3 * down + 0.8 * depth
    light = 1 + (0.72 + 0.36 * np.clip(towards, 0, 1) - 1) * canvas.contrast
    return _Surface((left, top), rest > 0, side, -down, front, light.astype(np.float32))


def _on_head(figure: Skeleton, side: float, up: float, front: float) -> Point:
    return figure.project((side * _ACROSS, _CENTRE[1] + up * _UP, _CENTRE[2] + front * _FORWARD))


def _nose(canvas: Canvas, figure: Skeleton) -> None:
    if abs(math.sin(figure.structure.pose.facing)) > 0.5:
        tip = _on_head(figure, 0.0, -0.16, 0.98)
        canvas.tube([_on_head(figure, 0.0, 0.1, 0.85), tip], [0.007 * figure.unit, 0.011 * figure.unit], Part.SKIN)


def _eye(canvas: Canvas, figure: Skeleton, side: float) -> None:
    place = _on_head(figure, 0.4 * side, 0.02, 0.86)
    if place.depth < 0.022:
        return
    wide, high = 0.0085 * figure.unit, 0.0075 * figure.unit
    turns = [k * math.pi / 6 for k in range(12)]
    canvas.crease([(place.x + wide * math.cos(t), place.y + high * math.sin(t)) for t in turns], 0.42)


def _brim(canvas: Canvas, figure: Skeleton) -> None:
    front = math.cos(figure.structure.pose.facing)
    if front < -0.6:
        return
    edge = [_on_head(figure, 0.95 * math.sin(t), 0.36, 0.95 * math.cos(t)) for t in np.linspace(-1.1, 1.1, 7)]
    rim = [_on_head(figure, 0.85 * math.sin(t), 0.27, 1.62 * math.cos(t) + 0.08) for t in np.linspace(1.0, -1.0, 7)]
    canvas.patch(edge + rim, Part.CAP, light=0.72)
