"""The shape of the trunk: sections from neck to hips, and pieces that lie on its surface."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dgaug.data.toy.skeleton import Point, Row, Skeleton

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


class Trunk:
    """The trunk of one figure, `ease` wider than the body, from the neck down to `hem`, flared below the waist."""

    def __init__(self, figure: Skeleton, *, ease: float = 0.0, hem: float = 0.47, flare: float = 0.0) -> None:
        self.figure = figure
        heights = [s[0] for s in _SECTIONS if s[0] > hem] + [hem]
        self.rows = [self._row(up, ease, flare) for up in heights]

    def _row(self, up: float, ease: float, flare: float) -> Row:
        body = self.figure.structure.body
        across, forward, offset = _between(_SECTIONS, up)
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
        across, forward, offset = _between(self.rows, up)
        return self.figure.project((across * math.sin(angle), up, offset + forward * math.cos(angle)))


def _between(rows: Sequence[Row], up: float) -> tuple[float, float, float]:
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
