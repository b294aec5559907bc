"""Charts: features as clouds of points, metrics by seed with paired differences, learning curves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.files import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REAL_COLOUR, GENERATED_COLOUR = "#0072B2", "#D55E00"
"""Blue and vermilion of Okabe and Ito: told apart by the colour-blind and in grey print."""
INK = "#333333"
DPI = 150
LINES_DPI = 130
"""Of intervals and learning curves."""
GOOD, BAD, FAINT = "#1b7837", "#b2182b", "#999999"
COLOURS = ("#333333", "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00", "#56B4E9")
"""Of Okabe and Ito, the first in dark grey."""
MARKERS = ("o", "s", "^", "v", "D", "P", "X")
NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""The same figure is the same file."""
_BACKEND = "MPLBACKEND"


@dataclass(frozen=True)
class Plane:
    """The plane of the two largest principal components of a set of features.

    Attributes:
        centre: their mean [D].
        axes: the components, of unit length [D, 2]; the largest number of each is positive.
        explained: share of their variance along each [2].
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    explained: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[Any]) -> Plane:
        """The plane of features [N, D].

        Raises:
            DgaugError: fewer than 3 features or 2 numbers in each, NaN or infinity, or no variance.
        """
        values = _checked(features)
        if len(values) < 3 or values.shape[1] < 2:
            raise DgaugError(
                f"clouds: a plane takes at least 3 real features of 2 numbers, found {values.shape[0]} of "
                f"{values.shape[1]}"
            )
        variance, vectors = np.linalg.eigh(np.cov(values.T))
        if variance[-1] <= 0:
            raise DgaugError("clouds: all real features are the same; there is no plane to show them in")
        axes = vectors[:, :-3:-1]
        largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
        return cls(values.mean(axis=0), axes * np.sign(largest), variance[:-3:-1].clip(0) / variance.clip(0).sum())

    def project(self, features: NDArray[Any]) -> NDArray[np.float64]:
        """Coordinates [M, 2] of features [M, D]; DgaugError where D is another."""
        values = _checked(features)
        if values.shape[1] != len(self.centre):
            raise DgaugError(f"clouds: real features of {len(self.centre)} numbers, generated of {values.shape[1]}")
        return np.asarray((values - self.centre) @ self.axes)


def clouds(real: NDArray[Any], generated: NDArray[Any], *, encoder: str) -> Figure:
    """A figure of real [N, D] and generated features [M, D] of an encoder, in the plane of the real ones.

    The plane is fitted on the real features alone, so that generated images unlike them move away from the cloud
    instead of turning the axes. Both axes have one scale and say how much of the real variance they show.

    Raises:
        DgaugError: see `Plane`.
    """
    plane = Plane.of(real)
    with plain_style() as new_figure:
        figure = new_figure(figsize=(7.0, 5.5), dpi=DPI, facecolor="white", layout="constrained")
        axes = figure.add_subplot(facecolor="white")
        _scatter(axes, plane.project(real), "real", REAL_COLOUR, "o")
        _scatter(axes, plane.project(generated), "generated", GENERATED_COLOUR, "^")
        first, second = (f"{share:.1%} of the real variance" for share in plane.explained)
        axes.set_xlabel(f"principal component 1 ({first})", color=INK)
        axes.set_ylabel(f"principal component 2 ({second})", color=INK)
        axes.set_title(f"Features: {encoder}", color=INK)
        axes.set_aspect("equal", adjustable="datalim")
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK)
        axes.legend(frameon=False, labelcolor=INK)
    return figure


def _scatter(axes: Axes, points: NDArray[np.float64], name: str, colour: str, marker: str) -> None:
    """One cloud [N, 2], its markers the smaller the more there are."""
    area = float(np.clip(4000 / len(points), 4, 36))
    x, y = points.T
    axes.scatter(x, y, s=area, c=colour, marker=marker, alpha=0.5, linewidths=0, rasterized=True)
    axes.scatter([], [], s=36, c=colour, marker=marker, linewidths=0, label=f"{name} ({len(points):,})")


def _checked(features: NDArray[Any]) -> NDArray[np.float64]:
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or not len(values) or not np.isfinite(values).all():
        raise DgaugError(f"clouds: expected finite features [N, D], found {list(values.shape)} or NaN among them")
    return values


@dataclass(frozen=True)
class Interval:
    """A line of the chart.

    Attributes:
        group: lines of a group stand together.
        name: of the line.
        values: by seed, 0..1.
        difference: to its twin, mean, low and high (None with one seed); None: it has no twin.
    """

    group: str
    name: str
    values: Sequence[float]
    difference: tuple[float, float | None, float | None] | None


def intervals(lines: Sequence[Interval], *, title: str) -> Figure:
    """The chart: at the left each seed and their mean, at the right the difference to the twin."""
    with plain_style() as new_figure:
        figure = new_figure(figsize=(9, 1.3 + 0.4 * len(lines)), dpi=LINES_DPI, layout="constrained")
        _fill(figure, lines, title)
    return figure


def _fill(figure: Figure, lines: Sequence[Interval], title: str) -> None:
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1))
    places = _places(lines)
    for place, line in zip(places, lines, strict=True):
        values = [100 * value for value in line.values]
        left.plot(values, [place] * len(values), "o", color=FAINT, markersize=5, markerfacecolor="none")
        left.plot([sum(values) / len(values)], [place], "|", color=INK, markersize=14, markeredgewidth=2.5)
        if line.difference is not None:
            mean, low, high = line.difference
            sure = low is not None and high is not None and (low > 0 or high < 0)
            colour = INK if not sure else GOOD if mean > 0 else BAD
            if low is not None and high is not None:
                right.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2)
            right.plot([100 * mean], [place], "o", color=colour, markersize=6)
    left.set_yticks(places, [line.name for line in lines])
    left.set_ylim(max(places) + 0.7, min(places) - 0.7)
    left.set_title(f"{title}, %\neach seed and their mean", fontsize=10)
    right.set_title("minus its twin of the same steps, points\nmean and 95 % interval", fontsize=10)
    right.axvline(0, color=FAINT, linewidth=1)
    for axes in (left, right):
        axes.grid(axis="x", color="#e5e5e5")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)


def _places(lines: Sequence[Interval]) -> list[float]:
    """From the top; a gap before each group."""
    places: list[float] = []
    for number, line in enumerate(lines):
        gap = number > 0 and line.group != lines[number - 1].group
        places.append((places[-1] if places else -1) + (1.6 if gap else 1.0))
    return places


@dataclass(frozen=True)
class Curve:
    """An arm: at each number of images the mean of a metric and its standard deviation (0..1)."""

    name: str
    images: Sequence[float]
    mean: Sequence[float]
    spread: Sequence[float]


@dataclass(frozen=True)
class Arrow:
    """From a number of images to the one that is as good, at the height of a metric (0..1), with a text."""

    start: float
    end: float
    height: float
    text: str


def learning_curves(curves: Sequence[Curve], arrow: Arrow | None, *, title: str, metric: str) -> Figure:
    """The curves with bands of one standard deviation, and the arrow."""
    with plain_style() as new_figure:
        figure = new_figure(figsize=(8.0, 5.2), dpi=LINES_DPI, layout="constrained")
        axes = figure.subplots()
        for place, curve in enumerate(curves):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            mean = [100 * value for value in curve.mean]
            low = [100 * (value - spread) for value, spread in zip(curve.mean, curve.spread, strict=True)]
            high = [100 * (value + spread) for value, spread in zip(curve.mean, curve.spread, strict=True)]
            axes.fill_between(curve.images, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot(curve.images, mean, color=colour, marker=marker, markersize=5, linewidth=1.8, label=curve.name)
        axes.set_xscale("log")
        places = sorted({images for curve in curves for images in curve.images})
        axes.set_xticks(places, [f"{images:,.0f}" for images in places])
        axes.set_xticks([], minor=True)
        if arrow is not None:
            height = 100 * arrow.height
            style = {"arrowstyle": "->", "color": INK, "linewidth": 1.6, "linestyle": "--", "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (arrow.end, height), (arrow.start, height), arrowprops=style)
        axes.set_xlabel("real training images" + (f"\n{arrow.text}" if arrow else ""), color=INK)
        axes.set_ylabel(f"{metric}, %", color=INK)
        axes.set_title(title, fontsize=10, color=INK)
        axes.grid(color="#e5e5e5")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=INK, which="both")
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    return figure


@contextmanager
def plain_style() -> Iterator[type[Figure]]:
    """The class of figures; for the length of the block a user's own style, LaTeX among it, counts for nothing."""
    _import_matplotlib()
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context("default"):
        yield Figure


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure whole, as PNG, SVG or PDF by its suffix, PNG for any other; returns its path."""
    suffix = path.suffix.lower().removeprefix(".")
    kind = suffix if suffix in NO_DATE else "png"
    with plain_style(), whole(path) as aside:
        figure.savefig(aside, format=kind, metadata=NO_DATE.get(kind))
    return path


def _import_matplotlib() -> None:
    """Import matplotlib where MPLBACKEND names a backend that is not there, as a notebook leaves it to `!dgaug`."""
    if "matplotlib" in sys.modules:
        return
    asked = os.environ.pop(_BACKEND, None)
    try:
        import matplotlib
    finally:
        if asked is not None:
            os.environ[_BACKEND] = asked
    if asked:
        # What is there stays what the rest of the process asked for; a file needs none.
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = asked
