"""The chart of a study: a metric over the number of real training images, a curve for each arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgaug.figures.charts import INK, plain_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#333333", "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00", "#56B4E9")
"""Of Okabe and Ito, the first in dark grey."""
MARKERS = ("o", "s", "^", "v", "D", "P", "X")
DPI = 130


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
        figure = new_figure(figsize=(8.0, 5.2), dpi=DPI, layout="constrained")
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
