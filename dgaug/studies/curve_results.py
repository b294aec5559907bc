"""What a study found: by fraction and arm a table, paired intervals, what images are worth, and the chart."""

from __future__ import annotations

import base64
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from dgaug.figures.charts import Arrow, Curve, learning_curves, save_figure
from dgaug.files import write_sealed_json, write_text
from dgaug.scores.retrieval.ranking import Ranking
from dgaug.studies.arms import ARMS, AUGMENTED, GENERATED, REAL
from dgaug.studies.metric_texts import TextTable, study_notes, study_tables, worth_text
from dgaug.studies.study import HEADLINE, Row, flat, over_seeds, paired_difference, write_table
from dgaug.studies.worth import worth

PLOTTED = "mAP (sum, valid queries)"
CHARTS = ("curve.png", "curve.pdf")
COUNTED = ("kept", "left_out", "judge_agrees", "judge_agrees_with_kept")
"""What a line of an arm with a judge says of the selection, as means over repeats."""
FILES = ("results.json", "results.csv", "table.csv", "report.html", *CHARTS)
Lines = list[dict[str, Any]]
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 2rem}th,td{padding:.2rem .7rem;border-bottom:1px solid #ddd}
th,td,caption{text-align:left}caption{font-weight:600;padding:.3rem 0}img{max-width:100%}"""


@dataclass(frozen=True)
class Trained:
    """A model of a study.

    Attributes:
        images, identities: real training images and identities at its point.
        row: its arm, its seed and its ranking.
        also: its ranking on the other data set, by feature.
        chosen: what a judge left of the images that it was fed with; None: no judge.
    """

    fraction: float
    repeat: int
    images: int
    identities: int
    row: Row
    also: dict[str, Ranking] | None
    chosen: dict[str, Any] | None = None


def write_results(
    folder: Path, trained: Sequence[Trained], protocol: Mapping[str, object], *, outside: bool
) -> dict[str, Any]:
    """Write `results.json`, two tables, the chart and the page; returns the content of the first."""
    lines = table(trained)
    results = {"protocol": dict(protocol), "points": lines}
    write_sealed_json(folder / "results.json", results)
    rows = [
        {"fraction": one.fraction, "repeat": one.repeat, "images": one.images} | row
        for one in trained
        for row in flat([one.row])
    ]
    write_table(folder / "results.csv", rows)
    write_table(folder / "table.csv", _flat_table(lines, str(protocol["generator"])))
    chart = learning_curves(_curves(lines), _arrow(lines), title=_title(protocol, outside=outside), metric=PLOTTED)
    for name in CHARTS:
        save_figure(chart, folder / name)
    _write_page(folder / "report.html", results, folder / CHARTS[0])
    return results


def table(trained: Sequence[Trained]) -> Lines:
    """A line for each fraction and arm: metrics over repeats, paired differences, and what the images are worth.

    Differences are taken repeat by repeat, see `compared_with`.
    """
    fractions = sorted({one.fraction for one in trained})
    arms = [name for name in ARMS if any(one.row.variant == name for one in trained)]
    at = {
        (fraction, arm): sorted(
            (one for one in trained if one.fraction == fraction and one.row.variant == arm), key=lambda one: one.repeat
        )
        for fraction in fractions
        for arm in arms
    }
    sizes = [statistics.fmean(one.images for one in at[fraction, REAL]) for fraction in fractions]
    real = [_values(at[fraction, REAL], PLOTTED) for fraction in fractions]
    lines = []
    for place, fraction in enumerate(fractions):
        for arm in arms:
            models = at[fraction, arm]
            line: dict[str, Any] = {
                "fraction": fraction,
                "images": sizes[place],
                "identities": statistics.fmean(one.identities for one in models),
                "arm": arm,
                "metrics": {name: over_seeds(_values(models, name)) for name in HEADLINE},
                "by_repeat": {name: _values(models, name) for name in HEADLINE},
                "minus": {
                    other: {
                        name: paired_difference(_values(models, name), _values(at[fraction, other], name))
                        for name in HEADLINE
                    }
                    for other in compared_with(arm, arms)
                },
                "worth": None
                if arm == REAL
                else worth(sizes, real, _values(models, PLOTTED), sizes[place]).described(),
            }
            if all(one.chosen is not None for one in models):
                line["selected"] = {name: _mean(models, name) for name in COUNTED}
            also = [replace(one, row=replace(one.row, ranking=one.also)) for one in models if one.also is not None]
            if also:
                line["also"] = {name: over_seeds(_values(also, name)) for name in HEADLINE}
            lines.append(line)
    return lines


def compared_with(arm: str, arms: Sequence[str]) -> list[str]:
    """The arms that an arm is compared with: real, cheap augmentation and, for one that is fed otherwise, generated."""
    others = [] if arm == REAL else [REAL, AUGMENTED, *([GENERATED] if ARMS[arm].fed else [])]
    return [other for other in others if other in arms and other != arm]


def _mean(models: Sequence[Trained], name: str) -> float:
    return statistics.fmean((one.chosen or {})[name] for one in models)


def _values(models: Sequence[Trained], name: str) -> list[float]:
    return [float(one.row.headline[HEADLINE[name]]) for one in models]


def _flat_table(lines: Lines, generator: str) -> list[dict[str, object]]:
    rows = []
    for line in lines:
        for name, metric in line["metrics"].items():
            row = {"fraction": line["fraction"], "images": line["images"], "arm": line["arm"], "metric": name, **metric}
            for other, differences in line["minus"].items():
                row |= {f"minus_{other}_{part}": differences[name][part] for part in ("mean", "low", "high")}
            if line["worth"] is not None and name == PLOTTED:
                row |= {f"worth_{part}": value for part, value in line["worth"].items() if part != "images"}
            rows.append(row | {"generator": generator})
    return rows


def _title(protocol: Mapping[str, object], *, outside: bool) -> str:
    generator = f"\ngenerator {protocol['generator']}" if outside else ""
    return f"{protocol['model']}: mean and standard deviation over {protocol['repeats']} repeats{generator}"


def _curves(lines: Lines) -> list[Curve]:
    arms = list(dict.fromkeys(line["arm"] for line in lines))
    return [
        Curve(
            ARMS[arm].text,
            [line["images"] for line in lines if line["arm"] == arm],
            [line["metrics"][PLOTTED]["mean"] for line in lines if line["arm"] == arm],
            [line["metrics"][PLOTTED]["spread"] or 0.0 for line in lines if line["arm"] == arm],
        )
        for arm in arms
    ]


def _arrow(lines: Lines) -> Arrow | None:
    """What images are worth at the smallest fraction, of the first arm that is fed."""
    fed = [line for line in lines if ARMS[line["arm"]].fed]
    if not fed:
        return None
    line = fed[0]
    text = f"{ARMS[line['arm']].text} at {line['images']:,.0f} images: worth {worth_text(line['worth'])} real images"
    return Arrow(line["images"], line["worth"]["equivalent"], line["metrics"][PLOTTED]["mean"], text)


def _write_page(path: Path, results: Mapping[str, Any], chart: Path) -> None:
    """Write the page of a study with its chart, a PNG file, inside."""
    protocol = results["protocol"]
    image = base64.b64encode(chart.read_bytes()).decode()
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>dgaug study</title>',
        f"<style>{_STYLE}</style></head><body>",
        "<h1>What generated images are worth</h1>",
        f"<p>{escape(_summary_of(protocol))}</p>",
        f'<p><img alt="Learning curves of all arms" src="data:image/png;base64,{image}"></p>',
        *(_html_table(table) for table in study_tables(results)),
        "<ul>",
        *(f"<li>{escape(note)}</li>" for note in study_notes(results)),
        "</ul></body></html>",
    ]
    write_text(path, "\n".join(lines) + "\n")


def _summary_of(protocol: Mapping[str, Any]) -> str:
    data, held_out = protocol["data"], protocol["held_out"]
    return (
        f"Model {protocol['model']} ({protocol['backbone']}), {protocol['repeats']} repeats, axis {protocol['axis']}; "
        f"{data['training_images']:,} training images of {data['training_identities']:,} identities, tested on "
        f"{held_out['queries']:,} queries and {held_out['gallery']:,} gallery images. "
        f"Generator: {protocol['generator']}."
    )


def _html_table(table: TextTable) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f"<table><caption>{escape(table.title)}</caption><tr>{head}</tr>\n{rows}</table>"
