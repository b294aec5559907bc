"""Result files as tables: what is known is explained, what is not known is shown as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgaug.errors import DgaugError
from dgaug.files import read_json
from dgaug.scores.quality.metrics import meaning

SPREAD = "_spread"


@dataclass(frozen=True)
class Table:
    """Rows of texts below column names; the first column names the row."""

    name: str
    meaning: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Score:
    """A single value, with what it is where that is known."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Scores:
    """What `scores.json` holds: single metrics, tables, the protocol as it stands there."""

    metrics: list[Score]
    tables: list[Table]
    protocol: Any


@dataclass(frozen=True)
class Estimate:
    """A value in percent: mean, what stands after ± (None: one seed), and the interval (None: none)."""

    mean: float
    spread: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class EstimateTable:
    """Estimates by variant and by measure; None where there is none."""

    columns: list[str]
    rows: list[tuple[str, list[Estimate | None]]]


@dataclass(frozen=True)
class ReidResults:
    """What `results.json` holds: means over seeds, differences to the twins, every model, the protocol."""

    summary: EstimateTable
    differences: EstimateTable
    models: Table
    protocol: Any


def read_scores(path: Path) -> Scores:
    """The tables of a `scores.json`; DgaugError where there is none or it cannot be read."""
    content = _result(path, "scores")
    scores = _mapping(content.get("scores"))
    single = {name: value for name, value in scores.items() if not isinstance(value, Mapping)}
    rows = []
    for name, value in single.items():
        if name.endswith(SPREAD) and name.removesuffix(SPREAD) in single:
            continue
        spread = single.get(name + SPREAD)
        shown = formatted(value) if spread is None else f"{formatted(value)} ± {formatted(spread)}"
        rows.append(Score(name, shown, meaning(name, scores)))
    nested = [
        _table(name, value, meaning(name, scores)) for name, value in scores.items() if isinstance(value, Mapping)
    ]
    return Scores(rows, nested, content.get("protocol"))


def read_reid(path: Path) -> ReidResults:
    """The tables of a `results.json`; DgaugError where there is none or it cannot be read."""
    content = _result(path, "results")
    runs = content.get("runs")
    rows = [row for run in (runs if isinstance(runs, list) else []) for row in _model_rows(_mapping(run))]
    names = list(dict.fromkeys(name for row in rows for name in row))
    models = Table("every model", "", names, [[formatted(row.get(name, "")) for name in names] for row in rows])
    return ReidResults(
        _estimates(content.get("summary")), _estimates(content.get("differences")), models, content.get("protocol")
    )


def formatted(value: object) -> str:
    """A value as it stands in a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    text = (", ".join(map(formatted, value)) or "–") if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= 300 else text[:299] + "…"


def _result(path: Path, what: str) -> dict[str, object]:
    if not path.is_file():
        raise DgaugError(f"There are no {what} yet.")
    return read_json(path)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _table(name: str, content: Mapping[str, Any], meaning: str) -> Table:
    rows = {key: value if isinstance(value, Mapping) else {"value": value} for key, value in content.items()}
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [[key, *(formatted(row.get(column, "")) for column in columns)] for key, row in rows.items()]
    return Table(name, meaning, ["", *columns], cells)


def _estimates(content: object) -> EstimateTable:
    table = {name: _mapping(row) for name, row in _mapping(content).items()}
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    rows = [(name, [_estimate(row.get(column)) for column in columns]) for name, row in table.items()]
    return EstimateTable(columns, rows)


def _estimate(content: object) -> Estimate | None:
    rows = _mapping(content)
    mean, spread, low, high = (_percent(rows.get(name)) for name in ("mean", "spread", "low", "high"))
    if mean is None:
        return None
    return Estimate(mean, spread, None if low is None or high is None else (low, high))


def _percent(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return 100 * float(value) if is_number and isinstance(value, (int, float)) else None


def _model_rows(run: Mapping[str, Any]) -> list[dict[str, object]]:
    """A row for each feature of a model: what names the model, then the shares (rank-k, mAP) in percent."""
    named = {name: value for name, value in run.items() if not isinstance(value, (Mapping, list))}
    rows: list[dict[str, object]] = []
    for feature, ranking in _mapping(run.get("ranking")).items():
        shares = {name: f"{100 * value:.1f}" for name, value in _mapping(ranking).items() if isinstance(value, float)}
        rows.append({**named, "feature": feature, **shares})
    return rows
