"""A chart of figures by seed and of their paired differences with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dgaug.pictures.figure_file import plain_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130
INK, GOOD, BAD, FAINT = "#333333", "#1b7837", "#b2182b", "#999999"


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
        figure = new_figure(figsize=(9, 1.3 + 0.4 * len(lines)), dpi=DPI, layout="constrained")
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
