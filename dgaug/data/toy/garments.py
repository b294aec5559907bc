"""The trunk, and garments on the figure: sleeves and trouser legs follow the limbs, the rest follows the trunk."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dgaug.data.toy.appearance import Appearance, Lower, Pattern, Upper
from dgaug.data.toy.canvas import Canvas, Part
from dgaug.data.toy.skeleton import Limb, Point, Row, Skeleton

# Height, half width across, half depth, offset forward; in statures.
_SECTIONS: tuple[Row, ...] = (
    (0.866, 0.032, 0.034, -0.006),
    (0.850, 0.062, 0.044, -0.006),
    (0.832, 0.096, 0.052, -0.006),
    (0.810, 0.112, 0.060, -0.004),
    (0.770, 0.112, 0.070, 0.002),
    (0.725, 0.106, 0.074, 0.006),
    (0.670, 0.095, 0.068, 0.004),
    (0.615, 0.088, 0.064, 0.002),
    (0.560, 0.094, 0.068, -0.002),
    (0.510, 0.100, 0.076, -0.008),
    (0.470, 0.098, 0.074, -0.006),
)
# Extra half width, height of the hem, flare below the waist; in statures.
_CUT = {
    Upper.TSHIRT: (0.006, 0.468, 0.03),
    Upper.LONG_SLEEVE: (0.005, 0.470, 0.02),
    Upper.OPEN_JACKET: (0.012, 0.455, 0.03),
    Upper.COAT: (0.013, 0.300, 0.12),
    Upper.HOODIE: (0.015, 0.462, -0.02),
    Upper.TANK: (0.001, 0.475, 0.02),
    Upper.DRESS: (0.002, 0.325, 0.30),
}
_SLEEVE_EASE = {
    Upper.TSHIRT: 0.010,
    Upper.LONG_SLEEVE: 0.005,
    Upper.OPEN_JACKET: 0.010,
    Upper.COAT: 0.011,
    Upper.HOODIE: 0.012,
}
_HOOD: tuple[Row, ...] = (
    (0.885, 0.05, 0.045, -0.02),
    (0.86, 0.07, 0.052, -0.03),
    (0.815, 0.058, 0.038, -0.048),
    (0.785, 0.02, 0.02, -0.055),
)


class Trunk:
    """The trunk of one figure, `ease` wider than the body, from the neck down to `hem`, flared below the waist."""

    def __init__(self, figure: Skeleton, *, ease: float = 0.0, hem: float = 0.47, flare: float = 0.0) -> None:
        self.figure = figure
        heights = [s[0] for s in _SECTIONS if s[0] > hem] + [hem]
        self.rows = [self._row(up, ease, flare) for up in heights]

    def _row(self, up: float, ease: float, flare: float) -> Row:
        body = self.figure.structure.body
        across, forward, offset = _section_at(_SECTIONS, up)
        wide = 1.0 + (body.shoulders - 1) * _ramp(up, 0.68, 0.8) + (body.hips - 1) * _ramp(up, 0.58, 0.5)
        depth = 1.0 + (body.build - 1) * (1 - 0.4 * _ramp(up, 0.5, 0.85))
        # Cloth hangs straight over the shoulders and stands away further down.
        ease = ease * (1 - 0.75 * _ramp(up, 0.78, 0.866)) + flare * max(0.0, 0.6 - up)
        return (up, across * wide * depth**0.8 + ease, forward * depth + ease, offset)

    def piece(self, left: tuple[float, float], right: tuple[float, float], top: float, bottom: float) -> list[Point]:
        """What is seen of a piece of the surface, as an outline; empty when it is turned away.

        `left` and `right` are its edges as angles around the body at top and bottom: 0 in front, positive to the
        person's left, in radians; `top` and `bottom` are heights in statures.
        """
        centre = -self.figure.structure.pose.facing
        heights = [top, *(row[0] for row in self.rows if bottom < row[0] < top), bottom]
        one: list[Point] = []
        other: list[Point] = []
        for up in heights:
            share = (top - up) / max(top - bottom, 1e-6)
            low = left[0] + (left[1] - left[0]) * share
            high = right[0] + (right[1] - right[0]) * share
            turn = 2 * math.pi * round((centre - (low + high) / 2) / (2 * math.pi))
            seen_low, seen_high = max(low + turn, centre - math.pi / 2), min(high + turn, centre + math.pi / 2)
            if seen_high - seen_low < 0.05:
                continue
            one.append(self._surface(up, seen_low))
            other.append(self._surface(up, seen_high))
        return one + other[::-1] if len(one) > 1 else []

    def _surface(self, up: float, angle: float) -> Point:
        across, forward, offset = _section_at(self.rows, up)
        return self.figure.project((across * math.sin(angle), up, offset + forward * math.cos(angle)))


def _section_at(rows: Sequence[Row], up: float) -> tuple[float, float, float]:
    """The three values at height `up`, between the two rows (from the top down) around it."""
    higher = rows[0]
    for row in rows:
        if row[0] <= up:
            share = (up - row[0]) / (higher[0] - row[0]) if higher[0] > row[0] else 0.0
            share = min(share, 1.0)
            return (
                row[1] + (higher[1] - row[1]) * share,
                row[2] + (higher[2] - row[2]) * share,
                row[3] + (higher[3] - row[3]) * share,
            )
        higher = row
    return higher[1:]


def _ramp(value: float, start: float, stop: float) -> float:
    """0 at `start`, 1 at `stop`, straight between."""
    return min(1.0, max(0.0, (value - start) / (stop - start)))


def cut(figure: Skeleton, kind: Upper) -> Trunk:
    """The trunk as this garment outlines it."""
    ease, hem, flare = _CUT[kind]
    return Trunk(figure, ease=ease, hem=hem, flare=flare)


def draw_arm(canvas: Canvas, figure: Skeleton, arm: Limb, wear: Appearance, *, tone: float) -> None:
    """A bare arm with its hand, and the sleeve over it."""
    build, unit = figure.structure.body.build, figure.unit
    inner = (arm.root[0] * 0.72, arm.root[1] + 0.018, arm.root[2])
    neck, shoulder, elbow, wrist, hand = (figure.project(j) for j in (inner, arm.root, arm.middle, arm.end, arm.tip))
    bare = [r * build * unit for r in (0.018, 0.029, 0.0245, 0.0165)]
    canvas.tube([neck, shoulder, elbow, wrist, hand], [*bare, 0.0195 * unit], Part.SKIN, tone=tone)
    part = Part.SECOND if wear.pattern is Pattern.SLEEVES else Part.UPPER
    ease = _SLEEVE_EASE.get(wear.upper, 0.005) * unit
    if wear.upper is Upper.TSHIRT:
        end = _between(shoulder, elbow, 0.68)
        radii = [bare[0], bare[1] + ease * 0.4, bare[2] + ease]
        canvas.tube([neck, shoulder, end], radii, part, tone=tone, hem=True)
    elif wear.upper is Upper.DRESS:
        end = _between(shoulder, elbow, 0.3)
        canvas.tube([neck, shoulder, end], [bare[0], bare[1] + ease * 0.4, bare[1] + ease], part, tone=tone, hem=True)
    elif wear.upper is not Upper.TANK:
        cuff = _between(elbow, wrist, 0.96)
        radii = [bare[0], bare[1] + ease * 0.4, bare[2] + ease * 0.8, bare[3] + ease]
        canvas.tube([neck, shoulder, elbow, cuff], radii, part, tone=tone, hem=True)


def draw_leg(canvas: Canvas, figure: Skeleton, leg: Limb, wear: Appearance, *, tone: float) -> None:
    """A leg with its shoe, and the trouser leg over it."""
    build, unit = figure.structure.body.build, figure.unit
    hip, knee, ankle = (figure.project(j) for j in (leg.root, leg.middle, leg.end))
    calf = _between(knee, ankle, 0.32)
    bare = [r * build * unit for r in (0.060, 0.038, 0.036, 0.0215)]
    _shoe(canvas, figure, leg, tone=tone)
    canvas.tube([hip, knee, calf, ankle], bare, Part.SKIN, tone=tone)
    if wear.upper is Upper.DRESS or wear.lower is Lower.SKIRT:
        return
    if wear.lower is Lower.SHORTS:
        end = _between(hip, knee, 0.88)
        canvas.tube([hip, end], [bare[0] + 0.006 * unit, bare[1] + 0.016 * unit], Part.LOWER, tone=tone, hem=True)
        return
    ease = (0.006, 0.011, 0.010, 0.015) if wear.lower is Lower.TROUSERS else (0.003, 0.003, 0.002, 0.006)
    hem = _between(knee, ankle, 1.05 if wear.lower is Lower.TROUSERS else 0.93)
    radii = [r + e * unit for r, e in zip(bare, ease, strict=True)]
    canvas.tube([hip, knee, calf, hem], radii, Part.LOWER, tone=tone, hem=True)
    if wear.side_stripe:
        _side_stripe(canvas, figure, leg)


def draw_hips(canvas: Canvas, figure: Skeleton, wear: Appearance) -> None:
    """What closes the legs at the top, or the skirt."""
    if wear.upper is Upper.DRESS:
        return
    skirt = wear.lower is Lower.SKIRT
    trunk = Trunk(figure, ease=0.003, hem=0.335 if skirt else 0.458, flare=0.17 if skirt else 0.0)
    centres, widths = figure.seen([row for row in trunk.rows if row[0] < 0.6])
    if not skirt:
        widths[-1] *= 0.84
    canvas.stack(centres, widths, Part.LOWER, tone=0.97)


def draw_upper(canvas: Canvas, figure: Skeleton, wear: Appearance) -> None:
    """The upper garment on the trunk, with what shows of its front."""
    if wear.upper is Upper.TANK:
        canvas.stack(*figure.seen(Trunk(figure).rows), Part.SKIN)
    trunk = cut(figure, wear.upper)
    centres, widths = figure.seen(trunk.rows)
    if wear.upper is Upper.TANK:
        widths = [w * f for w, f in zip(widths, (1.0, 0.86, 0.74, 0.74, 0.86), strict=False)] + widths[5:]
    canvas.stack(centres, widths, Part.UPPER)
    _neckline(canvas, trunk, wear.upper)
    if wear.upper is Upper.OPEN_JACKET:
        canvas.patch(trunk.piece((-0.2, -0.5), (0.2, 0.5), 0.862, _CUT[wear.upper][1] + 0.01), Part.SHIRT)
    elif wear.upper is Upper.COAT:
        canvas.crease(trunk.piece((-0.05, -0.05), (0.05, 0.05), 0.8, _CUT[wear.upper][1]), 0.7)
        canvas.crease(trunk.piece((-0.4, -0.05), (0.4, 0.05), 0.862, 0.76), 0.74)
    elif wear.upper is Upper.HOODIE:
        canvas.crease(trunk.piece((-0.62, -0.8), (0.62, 0.8), 0.6, 0.53), 0.78)
    if wear.pattern is Pattern.LOGO:
        canvas.patch(trunk.piece((-0.52, -0.52), (0.52, 0.52), 0.775, 0.67), Part.SECOND)


def draw_hood(canvas: Canvas, figure: Skeleton) -> None:
    """The hood of a hoodie, lying on the back of the neck."""
    canvas.stack(*figure.seen(_HOOD), Part.UPPER, tone=0.9)


def _neckline(canvas: Canvas, trunk: Trunk, kind: Upper) -> None:
    deep = {Upper.TANK: 0.80, Upper.DRESS: 0.81, Upper.TSHIRT: 0.838}.get(kind)
    if deep is not None:
        canvas.patch(trunk.piece((-1.2, -0.15), (1.2, 0.15), 0.872, deep), Part.SKIN, light=0.86)


def _shoe(canvas: Canvas, figure: Skeleton, leg: Limb, *, tone: float) -> None:
    unit = figure.unit
    ankle, toe = leg.end, leg.tip
    ahead = [t - a for t, a in zip(toe, ankle, strict=True)]
    heel = (ankle[0] - 0.3 * ahead[0], toe[1] + 0.004 - 0.2 * (toe[1] - ankle[1] + 0.026), ankle[2] - 0.28 * ahead[2])
    places = [
        figure.project(j)
        for j in (heel, ((heel[0] + toe[0]) / 2, (heel[1] + toe[1]) / 2 + 0.004, (heel[2] + toe[2]) / 2), toe)
    ]
    sole = [Point(p.x, p.y + 0.006 * unit, p.depth) for p in places]
    canvas.tube(sole, [0.022 * unit, 0.021 * unit, 0.018 * unit], Part.SOLE, tone=tone * 0.85)
    canvas.tube(places, [0.024 * unit, 0.023 * unit, 0.0185 * unit], Part.SHOES, tone=tone)
    canvas.tube([figure.project(ankle), places[0]], [0.024 * unit, 0.024 * unit], Part.SHOES, tone=tone)


def _side_stripe(canvas: Canvas, figure: Skeleton, leg: Limb) -> None:
    side = math.copysign(1.0, leg.root[0])
    outward = [(j[0] + side * w, j[1], j[2]) for j, w in ((leg.root, 0.05), (leg.middle, 0.036), (leg.end, 0.026))]
    inner = [figure.project(j) for j in (leg.root, leg.middle, leg.end)]
    edge = [figure.project(j) for j in outward]
    if edge[1].depth < inner[1].depth - 0.012:
        return
    half = 0.016 * figure.unit
    # The stripe stays within the outline when it is seen from the front.
    line = [Point(i.x + (e.x - i.x) * 0.72, i.y, e.depth) for i, e in zip(inner, edge, strict=True)]
    canvas.patch([(p.x - half, p.y) for p in line] + [(p.x + half, p.y) for p in line[::-1]], Part.STRIPE)


def _between(start: Point, end: Point, share: float) -> Point:
    return Point(*(a + (b - a) * share for a, b in zip(start, end, strict=True)))
