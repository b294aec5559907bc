"""The joints of a walking person, turned and projected into the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dgaug.data.toy.structure import Structure

Joint = tuple[float, float, float]  # across (the person's left is positive), up, forward; in statures
Row = tuple[float, float, float, float]  # a level ellipse: up, half width across, half depth, offset forward


class Point(NamedTuple):
    """A place in the image: `x` to the right, `y` down, in image heights; `depth` grows towards the viewer."""

    x: float
    y: float
    depth: float


@dataclass(frozen=True, slots=True)
class Limb:
    """Three joints of one arm or leg, from the trunk outwards, and the hand or the toes."""

    root: Joint
    middle: Joint
    end: Joint
    tip: Joint


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A posed person: limbs left and right, and the projection into the image."""

    structure: Structure
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]
    drop: float

    @property
    def unit(self) -> float:
        """One stature in image heights."""
        return self.structure.view.scale

    def project(self, joint: Joint) -> Point:
        """Where a joint is seen: turned by the facing, looked at from slightly above, tilted with the camera."""
        view, facing = self.structure.view, self.structure.pose.facing
        across, up, forward = joint
        up -= self.drop
        forward += self.structure.pose.lean * max(up - 0.5, 0.0) * 2
        sideways = across * math.cos(facing) + forward * math.sin(facing)
        depth = forward * math.cos(facing) - across * math.sin(facing)
        x, y = sideways * view.scale, -(up - depth * math.sin(view.pitch)) * view.scale
        cos, sin = math.cos(view.tilt), math.sin(view.tilt)
        return Point(0.25 + view.shift_x + x * cos - y * sin, 0.955 + view.shift_y + x * sin + y * cos, depth)

    def half_width(self, across: float, forward: float) -> float:
        """Seen half width, in image heights, of an elliptic section with these half axes."""
        facing = self.structure.pose.facing
        return math.hypot(across * math.cos(facing), forward * math.sin(facing)) * self.unit

    def seen(self, rows: Sequence[Row], *, across: float = 0.0) -> tuple[list[Point], list[float]]:
        """Centres and half widths, in image heights, of a round body given by its level ellipses."""
        centres = [self.project((across, up, offset)) for up, _, _, offset in rows]
        return centres, [self.half_width(wide, deep) for _, wide, deep, _ in rows]


def skeleton(structure: Structure) -> Skeleton:
    """The posed skeleton of a structure, its lower foot on the ground."""
    legs = (_leg(structure, 1.0), _leg(structure, -1.0))
    drop = min(min(leg.end[1] - 0.045, leg.tip[1] - 0.018) for leg in legs)
    return Skeleton(structure=structure, arms=(_arm(structure, 1.0), _arm(structure, -1.0)), legs=legs, drop=drop)


def _leg(structure: Structure, side: float) -> Limb:
    pose = structure.pose
    phase = pose.phase + (0.0 if side > 0 else math.pi)
    thigh = pose.stride * math.sin(phase) + 0.04
    # The knee bends while the leg comes forward and is nearly straight while it carries.
    shin = thigh - 0.06 - 1.6 * pose.stride * max(0.0, math.cos(phase + 0.35)) ** 1.5
    hip = (side * 0.052 * structure.body.hips, 0.5, 0.0)
    knee = _swing(hip, 0.225, thigh, side * 0.01)
    ankle = _swing(knee, 0.23, shin, -side * 0.02)
    foot = 0.45 * (shin + 0.06)
    toe = (ankle[0] + side * 0.018, ankle[1] - 0.026 + 0.09 * math.sin(foot), ankle[2] + 0.09 * math.cos(foot))
    return Limb(hip, knee, ankle, toe)


def _arm(structure: Structure, side: float) -> Limb:
    pose = structure.pose
    phase = pose.phase + (math.pi if side > 0 else 0.0)
    upper = pose.swing * math.sin(phase) - 0.04
    bend = 0.22 + 0.9 * pose.swing * max(0.0, math.sin(phase))
    if side < 0 and pose.bent_arm:
        upper, bend = 0.25, pose.bent_arm
    shoulder = (side * 0.099 * structure.body.shoulders * structure.body.build**0.5, 0.803, 0.0)
    elbow = _swing(shoulder, 0.172, upper, side * 0.17)
    wrist = _swing(elbow, 0.145, upper + bend, side * (0.02 if bend < 1 else -0.25))
    hand = _swing(wrist, 0.045, upper + bend + 0.1, -side * 0.05)
    return Limb(shoulder, elbow, wrist, hand)


def _swing(start: Joint, length: float, forward: float, outward: float) -> Joint:
    """The far end of a bone that hangs down, swung forward and outward by these angles."""
    down = math.cos(forward) * math.cos(outward)
    return (start[0] + length * math.sin(outward), start[1] - length * down, start[2] + length * math.sin(forward))
