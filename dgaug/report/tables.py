"""Result files as tables: what is known is explained, what is not known is shown as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgaug.errors import DgaugError
from dgaug.files import read_json

MEANINGS = {
    "fid": "Fréchet Inception distance to the real pictures; lower is better",
    "kid": "kernel Inception distance; lower is better",
    "frechet": "Fréchet distance in another encoder's features: not FID, compares only with itself; lower is better",
    "kernel": "kernel distance in another encoder's features; lower is better",
    "precision": "share of generated pictures among the real ones; higher is better",
    "recall": "share of real pictures among the generated ones; higher is better",
    "density": "how densely real pictures surround the generated ones; higher is better",
    "coverage": "share of real pictures with a generated one beside them; higher is better",
    "ssim_self_reconstruction": "pairs (i, i) against the picture i itself; 1 is equal",
    "l1_self_reconstruction": "mean absolute error of pairs (i, i), grey levels of 255; lower is better",
    "diversity": "dissimilarity within an appearance identity; higher is more varied",
    "duplicates": "share of generated pictures as near to a real one as 1 % of real ones are to each other",
    "structure": "SSIM and correlations with each donor: high for the structure donor, low for the appearance donor",
    "variance": "what appearance, structure and neither alone explain of a block of pictures; both well above 0",
    "identity_rank1_appearance": "nearest real picture shows the appearance donor's identity; higher is better",
    "identity_rank1_structure": "nearest real picture shows the structure donor's identity; lower is better",
    "identity_rank1_real": "the same for real pictures: the ceiling",
    "identity_cosine": "cosine to the centre of the identity; high for appearance and real, low for structure",
    "identity_is_appearance": "what the teacher takes for the appearance donor's identity: no independent opinion",
    "identity_is_structure": "what the teacher takes for the structure donor's identity: no independent opinion",
    "teacher": "how far the store's soft labels agree with the appearance donor, and how much more they say",
    "oracle": "error against the true picture of each pair, beside copies of the two donors",
}
"""By the beginning of a score's name; docs/scores.md says more."""
DETAILS = {
    "_floor": "real against other real pictures: what a perfect generator would get at that count",
    "_by_count": "value and floor at smaller counts",
}
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
    """A single figure, with what it is where that is known."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Scores:
    """What `scores.json` holds: single figures, tables, the protocol as it stands there."""

    figures: list[Score]
    tables: list[Table]
    protocol: Any


@dataclass(frozen=True)
class Estimate:
    """A figure in percent: mean, what stands after ± (None: one seed), and the interval (None: none)."""

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
    found = []
    for name, value in single.items():
        if name.endswith(SPREAD) and name.removesuffix(SPREAD) in single:
            continue
        spread = single.get(name + SPREAD)
        shown = figure(value) if spread is None else f"{figure(value)} ± {figure(spread)}"
        found.append(Score(name, shown, _meaning(name, scores)))
    nested = [
        _table(name, value, _meaning(name, scores)) for name, value in scores.items() if isinstance(value, Mapping)
    ]
    return Scores(found, nested, content.get("protocol"))


def read_reid(path: Path) -> ReidResults:
    """The tables of a `results.json`; DgaugError where there is none or it cannot be read."""
    content = _result(path, "results")
    runs = content.get("runs")
    rows = [row for run in (runs if isinstance(runs, list) else []) for row in _model_rows(_mapping(run))]
    names = list(dict.fromkeys(name for row in rows for name in row))
    models = Table("every model", "", names, [[figure(row.get(name, "")) for name in names] for row in rows])
    return ReidResults(
        _estimates(content.get("summary")), _estimates(content.get("differences")), models, content.get("protocol")
    )


def _meaning(name: str, scores: Mapping[str, Any]) -> str:
    """What a score is, by the longest known beginning of its name; of a detail of another score, by its end."""
    if any(name.startswith(f"{other}_") for other in scores):
        return next((meaning for end, meaning in DETAILS.items() if name.endswith(end)), "")
    known = [start for start in MEANINGS if name == start or name.startswith(f"{start}_")]
    return MEANINGS[max(known, key=len)] if known else ""


def figure(value: object) -> str:
    """A value as it stands in a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    text = (", ".join(map(figure, value)) or "–") if isinstance(value, (list, tuple)) else str(value)
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
    cells = [[key, *(figure(row.get(column, "")) for column in columns)] for key, row in rows.items()]
    return Table(name, meaning, ["", *columns], cells)


def _estimates(content: object) -> EstimateTable:
    table = {name: _mapping(row) for name, row in _mapping(content).items()}
    columns = list(dict.fromkeys(column for row in table.values() for column in row))
    rows = [(name, [_estimate(row.get(column)) for column in columns]) for name, row in table.items()]
    return EstimateTable(columns, rows)


def _estimate(content: object) -> Estimate | None:
    found = _mapping(content)
    mean, spread, low, high = (_percent(found.get(name)) for name in ("mean", "spread", "low", "high"))
    if mean is None:
        return None
    return Estimate(mean, spread, None if low is None or high is None else (low, high))


def _percent(value: object) -> float | None:
    is_figure = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return 100 * float(value) if is_figure and isinstance(value, (int, float)) else None


def _model_rows(run: Mapping[str, Any]) -> list[dict[str, object]]:
    """A row for each feature of a model: what names the model, then the shares (rank-k, mAP) in percent."""
    named = {name: value for name, value in run.items() if not isinstance(value, (Mapping, list))}
    rows: list[dict[str, object]] = []
    for feature, ranking in _mapping(run.get("ranking")).items():
        shares = {name: f"{100 * value:.1f}" for name, value in _mapping(ranking).items() if isinstance(value, float)}
        rows.append({**named, "feature": feature, **shares})
    return rows
