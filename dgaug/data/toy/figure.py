"""The whole person, painted from far to near."""

from __future__ import annotations

import math

from dgaug.data.toy.appearance import Appearance, Upper
from dgaug.data.toy.bags import bag_depth, draw_bag, draw_straps
from dgaug.data.toy.canvas import Canvas
from dgaug.data.toy.garments import draw_arm, draw_hips, draw_hood, draw_leg, draw_upper
from dgaug.data.toy.head import draw_hanging_hair, draw_head, draw_neck
from dgaug.data.toy.skeleton import Skeleton

_FAR_TONE = 0.84


def draw_figure(canvas: Canvas, figure: Skeleton, wear: Appearance) -> None:
    """Paint the person of `figure` in the clothes of `wear`."""
    from_behind = math.cos(figure.structure.pose.facing) < 0
    bag_in_front = bag_depth(figure, wear.bag) > 0
    # An arm is behind the trunk when its shoulder is clearly on the far side.
    far_arms = [arm for arm in figure.arms if figure.project(arm.root).depth < -0.045]
    near_arms = [arm for arm in figure.arms if arm not in far_arms]
    for arm in far_arms:
        draw_arm(canvas, figure, arm, wear, tone=_FAR_TONE)
    if not bag_in_front:
        draw_bag(canvas, figure, wear)
    if not from_behind:
        draw_hanging_hair(canvas, figure)
        if wear.upper is Upper.HOODIE:
            draw_hood(canvas, figure)
    _draw_legs(canvas, figure, wear)
    draw_neck(canvas, figure)
    draw_hips(canvas, figure, wear)
    draw_upper(canvas, figure, wear)
    draw_straps(canvas, figure, wear)
    draw_head(canvas, figure)
    for arm in near_arms:
        draw_arm(canvas, figure, arm, wear, tone=0.98)
    if from_behind:
        if wear.upper is Upper.HOODIE:
            draw_hood(canvas, figure)
        draw_hanging_hair(canvas, figure)
    if bag_in_front:
        draw_bag(canvas, figure, wear)


def _draw_legs(canvas: Canvas, figure: Skeleton, wear: Appearance) -> None:
    far, near = sorted(figure.legs, key=lambda leg: figure.project(leg.root).depth + figure.project(leg.end).depth)
    draw_leg(canvas, figure, far, wear, tone=_FAR_TONE)
    draw_leg(canvas, figure, near, wear, tone=1.0)
