"""The whole person with its bag, painted from far to near."""

from __future__ import annotations

import math

from dgaug.data.toy.appearance import Appearance, Bag, Upper
from dgaug.data.toy.canvas import Canvas, Part
from dgaug.data.toy.garments import cut, draw_arm, draw_hips, draw_hood, draw_leg, draw_upper
from dgaug.data.toy.head import draw_hanging_hair, draw_head, draw_neck
from dgaug.data.toy.skeleton import Joint, Point, Row, Skeleton

_FAR_TONE = 0.84
_BACKPACK: tuple[Row, ...] = (
    (0.845, 0.045, 0.03, -0.09),
    (0.83, 0.072, 0.042, -0.1),
    (0.76, 0.082, 0.05, -0.112),
    (0.63, 0.086, 0.056, -0.116),
    (0.585, 0.08, 0.05, -0.108),
    (0.572, 0.06, 0.035, -0.1),
)
_POCKET: tuple[Joint, ...] = (
    (-0.055, 0.68, -0.16),
    (0.055, 0.68, -0.16),
    (0.055, 0.605, -0.16),
    (-0.055, 0.605, -0.16),
)
_SHOULDER_BAG: tuple[Row, ...] = (
    (0.53, 0.034, 0.070, 0.0),
    (0.518, 0.042, 0.082, 0.0),
    (0.44, 0.044, 0.085, 0.0),
    (0.42, 0.034, 0.072, 0.0),
)


def draw_figure(canvas: Canvas, figure: Skeleton, wear: Appearance) -> None:
    """Paint the person of `figure` in the clothes of `wear`."""
    from_behind = math.cos(figure.structure.pose.facing) < 0
    bag_in_front = _bag_depth(figure, wear.bag) > 0
    # An arm is behind the trunk when its shoulder is clearly on the far side.
    far_arms = [arm for arm in figure.arms if figure.project(arm.root).depth < -0.045]
    near_arms = [arm for arm in figure.arms if arm not in far_arms]
    for arm in far_arms:
        draw_arm(canvas, figure, arm, wear, tone=_FAR_TONE)
    if not bag_in_front:
        _draw_bag(canvas, figure, wear)
    if not from_behind:
        draw_hanging_hair(canvas, figure)
        if wear.upper is Upper.HOODIE:
            draw_hood(canvas, figure)
    _draw_legs(canvas, figure, wear)
    draw_neck(canvas, figure)
    draw_hips(canvas, figure, wear)
    draw_upper(canvas, figure, wear)
    _draw_straps(canvas, figure, wear)
    draw_head(canvas, figure)
    for arm in near_arms:
        draw_arm(canvas, figure, arm, wear, tone=0.98)
    if from_behind:
        if wear.upper is Upper.HOODIE:
            draw_hood(canvas, figure)
        draw_hanging_hair(canvas, figure)
    if bag_in_front:
        _draw_bag(canvas, figure, wear)


def _draw_legs(canvas: Canvas, figure: Skeleton, wear: Appearance) -> None:
    far, near = sorted(figure.legs, key=lambda leg: figure.project(leg.root).depth + figure.project(leg.end).depth)
    draw_leg(canvas, figure, far, wear, tone=_FAR_TONE)
    draw_leg(canvas, figure, near, wear, tone=1.0)


def _bag_depth(figure: Skeleton, bag: Bag) -> float:
    """How far towards the viewer the bag hangs, against the middle of the body; in statures."""
    facing = figure.structure.pose.facing
    if bag is Bag.BACKPACK:
        return -math.cos(facing)
    # Shoulder bag and handbag hang at the person's left.
    return -math.sin(facing) + 0.2 * math.cos(facing)


def _draw_bag(canvas: Canvas, figure: Skeleton, wear: Appearance) -> None:
    """The bag itself."""
    if wear.bag is Bag.BACKPACK:
        canvas.stack(*figure.seen(_BACKPACK), Part.BAG)
        if math.cos(figure.structure.pose.facing) < -0.3:
            canvas.patch([figure.project(joint) for joint in _POCKET], Part.BAG_TRIM)
    elif wear.bag is Bag.SHOULDER:
        canvas.stack(*figure.seen(_SHOULDER_BAG, across=0.135), Part.BAG)
    elif wear.bag is Bag.HANDBAG:
        _handbag(canvas, figure)


def _draw_straps(canvas: Canvas, figure: Skeleton, wear: Appearance) -> None:
    """Straps over the upper garment."""
    trunk = cut(figure, wear.upper)
    if wear.bag is Bag.BACKPACK:
        for side in (1.0, -1.0):
            edges = sorted((0.42 * side, 0.8 * side))
            lower = sorted((0.62 * side, 0.95 * side))
            canvas.patch(trunk.piece((edges[0], lower[0]), (edges[1], lower[1]), 0.845, 0.64), Part.BAG_TRIM)
    elif wear.bag is Bag.SHOULDER:
        # From the right shoulder to the left hip, in front and behind.
        canvas.patch(trunk.piece((-0.75, 0.95), (-0.35, 1.35), 0.848, 0.54), Part.BAG_TRIM)
        canvas.patch(trunk.piece((3.5, 1.8), (3.9, 2.2), 0.848, 0.54), Part.BAG_TRIM)


def _handbag(canvas: Canvas, figure: Skeleton) -> None:
    unit = figure.unit
    hand = figure.arms[0].tip
    held = figure.project(hand)
    top = figure.project((hand[0], hand[1] - 0.05, hand[2]))
    half, low = figure.half_width(0.036, 0.068), 0.095 * unit
    for side in (1.0, -1.0):
        canvas.tube([held, Point(top.x + side * half * 0.6, top.y, 0.0)], [0.0075 * unit] * 2, Part.BAG_TRIM)
    centres = [Point(top.x, top.y + low * share, 0.0) for share in (0.0, 0.1, 0.9, 1.0)]
    canvas.stack(centres, [half * w for w in (0.8, 0.88, 1.0, 0.92)], Part.BAG)
