"""Curves of a run from its `log.jsonl`: a chart for each term, one for the weights that change."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgaug.errors import DgaugError

POINTS = 200
"""Of a curve at most; where the log has more, a point is the mean of its share and a band shows the extremes."""
WIDTH, HEIGHT, INSET = 300.0, 100.0, 3.0
LOG_RATIO = 30.0
"""Positive terms whose extremes lie further apart are drawn on a logarithmic axis."""

Points = list[tuple[int, float]]


@dataclass(frozen=True)
class Curve:
    """One line of a chart: SVG paths in a box of `WIDTH` x `HEIGHT`, and the points [iteration, value] behind them."""

    name: str
    line: str
    band: str
    points: Points


@dataclass(frozen=True)
class Chart:
    """Curves on the same axes; `lowest` and `highest` are the ends of the vertical one, `iterations` of the other."""

    name: str
    curves: list[Curve]
    lowest: float
    highest: float
    iterations: tuple[int, int]
    logarithmic: bool


@dataclass(frozen=True)
class PhaseCurves:
    """The charts of a phase of training; weights that stay as they are, by name."""

    phase: str
    terms: list[Chart]
    ramps: Chart | None
    constant: dict[str, float]


def read_curves(path: Path) -> list[PhaseCurves]:
    """The charts of all phases in a log; half a line at its end, and what is not finite, are left out.

    Raises:
        DgaugError: no log, or nothing in it.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DgaugError("There is no log yet.") from error
    terms: dict[str, dict[str, Points]] = {}
    weights: dict[str, dict[str, Points]] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            phase, iteration = str(entry["phase"]), int(entry["iteration"])
            kinds = [(terms, _finite(entry["terms"])), (weights, _finite(entry.get("weights", {})))]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
        for table, values in kinds:
            for name, value in values.items():
                table.setdefault(phase, {}).setdefault(name, []).append((iteration, value))
    if not terms:
        raise DgaugError(f"{path} holds no line of values yet")
    return [_phase(phase, curves, weights.get(phase, {})) for phase, curves in terms.items()]


def _finite(values: Any) -> dict[str, float]:
    return {
        str(name): float(value)
        for name, value in dict(values).items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def _phase(phase: str, terms: dict[str, Points], weights: dict[str, Points]) -> PhaseCurves:
    constant = {name: points[0][1] for name, points in weights.items() if len({value for _, value in points}) == 1}
    together: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for name, points in weights.items():
        if name not in constant:
            together.setdefault(tuple(points), []).append(name)
    lines = [(", ".join(names), list(points)) for points, names in together.items()]
    ordered = sorted(terms, key=lambda name: name != "total")
    return PhaseCurves(
        phase,
        [_chart(name, [(name, terms[name])]) for name in ordered],
        _chart("weights", lines, floor=0.0) if lines else None,
        constant,
    )


def _chart(name: str, lines: Sequence[tuple[str, Points]], *, floor: float | None = None) -> Chart:
    thinned = [(label, _thinned(points)) for label, points in lines]
    everything = [value for _, buckets in thinned for bucket in buckets for value in (bucket.lowest, bucket.highest)]
    lowest, highest = min(everything), max(everything)
    logarithmic = floor is None and lowest > 0 and highest / lowest > LOG_RATIO
    if floor is not None:
        lowest = min(floor, lowest)
    iterations = [bucket.iteration for _, buckets in thinned for bucket in buckets]
    axes = _Axes(min(iterations), max(iterations), lowest, highest, logarithmic)
    curves = [
        Curve(label, axes.line(buckets), axes.band(buckets), [(one.iteration, one.mean) for one in buckets])
        for label, buckets in thinned
    ]
    return Chart(name, curves, lowest, highest, (axes.first, axes.last), logarithmic)


@dataclass(frozen=True)
class _Bucket:
    iteration: int
    mean: float
    lowest: float
    highest: float


def _thinned(points: Points) -> list[_Bucket]:
    size = math.ceil(len(points) / POINTS)
    curves = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        values = [value for _, value in part]
        curves.append(_Bucket(part[len(part) // 2][0], sum(values) / len(values), min(values), max(values)))
    return curves


@dataclass(frozen=True)
class _Axes:
    """From values to places in the box."""

    first: int
    last: int
    lowest: float
    highest: float
    logarithmic: bool

    def line(self, buckets: Sequence[_Bucket]) -> str:
        places = [self._place(bucket.iteration, bucket.mean) for bucket in buckets]
        # A lone point still shows: a line of no length with round ends.
        return "M" + "L".join(places if len(places) > 1 else places * 2)

    def band(self, buckets: Sequence[_Bucket]) -> str:
        if all(bucket.lowest == bucket.highest for bucket in buckets):
            return ""
        there = [self._place(bucket.iteration, bucket.highest) for bucket in buckets]
        back = [self._place(bucket.iteration, bucket.lowest) for bucket in reversed(buckets)]
        return "M" + "L".join(there + back) + "Z"

    def _place(self, iteration: int, value: float) -> str:
        across = (iteration - self.first) / max(1, self.last - self.first)
        up = self._share(value)
        return f"{across * WIDTH:.1f},{HEIGHT - INSET - up * (HEIGHT - 2 * INSET):.1f}"

    def _share(self, value: float) -> float:
        if self.highest == self.lowest:
            return 0.5
        if self.logarithmic:
            return math.log(value / self.lowest) / math.log(self.highest / self.lowest)
        return (value - self.lowest) / (self.highest - self.lowest)
