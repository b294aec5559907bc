"""Metrics of a study as text: cells and tables that the command line and the page of a study show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_BEYOND = {"above": "at least ", "below": "at most ", None: ""}


class TextTable(NamedTuple):
    """A table of texts."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[str]]


def percent(metric: Mapping[str, Any]) -> str:
    """Mean and standard deviation in per cent."""
    spread = "" if metric["spread"] is None else f" ± {100 * metric['spread']:.1f}"
    return f"{100 * metric['mean']:.1f}{spread}"


def difference(metric: Mapping[str, Any]) -> str:
    """A paired difference with its interval, in percentage points."""
    mean = f"{100 * metric['mean']:+.1f}"
    return mean if metric["low"] is None else f"{mean} [{100 * metric['low']:+.1f}, {100 * metric['high']:+.1f}]"


def worth_text(found: Mapping[str, Any]) -> str:
    """What images are worth in words: further real images with the interval, and the factor."""
    ends = (("equivalent", "beyond"), ("low", "low_beyond"), ("high", "high_beyond"))
    middle, low, high = (f"{_BEYOND[found[side]]}{round(found[name] - found['images']):+,}" for name, side in ends)
    return f"{middle} [{low}, {high}], {found['factor']:.2f}x"


def study_tables(results: Mapping[str, Any]) -> list[TextTable]:
    """The tables of a study from its `results.json`: metrics, paired differences, worth."""
    protocol, points = results["protocol"], results["points"]
    names = tuple(points[0]["metrics"])
    about = f"{protocol['model']}, {protocol['repeats']} repeats; generator: {protocol['generator']}"
    at = [[f"{line['fraction']:g}", f"{line['images']:,.0f}", line["arm"]] for line in points]
    metrics = [
        [*place, *(percent(line["metrics"][name]) for name in names)] for place, line in zip(at, points, strict=True)
    ]
    minus = [
        [place[0], place[2], other, *(difference(by_name[name]) for name in names)]
        for place, line in zip(at, points, strict=True)
        for other, by_name in line["minus"].items()
    ]
    worth = [
        [*place, worth_text(line["worth"])] for place, line in zip(at, points, strict=True) if line["worth"] is not None
    ]
    return [
        TextTable(
            f"re-identification (%, mean ± standard deviation; {about})", ("fraction", "images", "arm", *names), metrics
        ),
        TextTable(
            "differences, paired by repeat (percentage points, 95 % interval)",
            ("fraction", "arm", "minus", *names),
            minus,
        ),
        TextTable(
            "worth so many further real images (mAP sum; 95 % interval by bootstrap)",
            ("fraction", "images", "arm", "further real images"),
            worth,
        ),
    ]


def study_notes(results: Mapping[str, Any]) -> list[str]:
    """What to know beside the tables: the arms, and where no plateau was reached."""
    protocol = results["protocol"]
    notes = [f"{name}: {text}" for name, text in protocol["arms"].items()]
    notes += [
        f"fraction {line['fraction']:g}, {line['arm']}: {chosen['kept']:,.0f} generated images kept, "
        f"{chosen['left_out']:,.0f} left out; the judge agrees with {chosen['judge_agrees']:.0%} of all and "
        f"{chosen['judge_agrees_with_kept']:.0%} of the kept"
        for line in results["points"]
        if (chosen := line.get("selected"))
    ]
    for fraction, chosen in protocol["chosen"].items():
        if chosen["still_rising"]:
            arms = ", ".join(chosen["still_rising"])
            notes.append(
                f"fraction {fraction}: {arms} still rising at {chosen['steps']} steps, so no plateau was reached; give "
                "longer --steps"
            )
    return notes
