from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dgaug.errors import DgaugError
from dgaug.report.curves import HEIGHT, INSET, POINTS, WIDTH, read_curves


def written(path: Path, lines: list[dict[str, object]], tail: str = "") -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail, encoding="utf-8")
    return path


def line(iteration: int, weights: dict[str, float] | None = None, **terms: float) -> dict[str, object]:
    return {"phase": "dgnet", "iteration": iteration, "terms": terms, "weights": weights or {}}


def places(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path)]


def test_a_curve_goes_from_corner_to_corner(tmp_path: Path) -> None:
    (phase,) = read_curves(written(tmp_path / "log", [line(0, loss=2.0), line(50, loss=1.0), line(100, loss=0.0)]))
    (chart,) = phase.terms
    assert places(chart.curves[0].line) == [(0, INSET), (WIDTH / 2, HEIGHT / 2), (WIDTH, HEIGHT - INSET)]
    assert (chart.lowest, chart.highest, chart.iterations, chart.curves[0].band) == (0.0, 2.0, (0, 100), "")


def test_a_long_log_is_thinned_to_means_between_its_extremes(tmp_path: Path) -> None:
    lines = [line(k, loss=1.0 if k % 2 else 3.0) for k in range(10 * POINTS)]
    (phase,) = read_curves(written(tmp_path / "log", lines))
    (curve,) = phase.terms[0].curves
    assert len(curve.points) == POINTS
    assert {value for _, value in curve.points} == {2.0}
    assert {y for _, y in places(curve.band)} == {INSET, HEIGHT - INSET}


def test_only_what_changes_is_a_ramp_and_equal_ramps_are_one_line(tmp_path: Path) -> None:
    lines = [line(k, {"still": 5.0, "a": k / 2, "b": k / 2, "c": k / 4}, loss=1.0) for k in range(3)]
    (phase,) = read_curves(written(tmp_path / "log", lines))
    assert phase.constant == {"still": 5.0}
    assert phase.ramps is not None
    assert [curve.name for curve in phase.ramps.curves] == ["a, b", "c"]
    assert (phase.ramps.lowest, phase.ramps.highest) == (0.0, 1.0)


def test_half_a_line_and_what_is_not_finite_are_left_out(tmp_path: Path) -> None:
    lines = [line(0, loss=1.0), line(1, loss=float("nan")), line(2, loss=0.5), {"phase": "dgnet"}]
    (phase,) = read_curves(written(tmp_path / "log", lines, tail='{"phase": "dgn'))
    assert phase.terms[0].curves[0].points == [(0, 1.0), (2, 0.5)]


def test_a_term_over_many_orders_is_drawn_by_its_logarithm(tmp_path: Path) -> None:
    (phase,) = read_curves(written(tmp_path / "log", [line(0, loss=100.0), line(1, loss=10.0), line(2, loss=1.0)]))
    assert phase.terms[0].logarithmic
    assert places(phase.terms[0].curves[0].line)[1] == (WIDTH / 2, HEIGHT / 2)


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "not JSON\n",
        "[" * 100_000,
        '{"phase": "dgnet", "iteration": 1e999, "terms": {"total": 1}}',
        '{"phase": "dgnet", "iteration": 1, "terms": {"total": 1' + "0" * 400 + "}}",
    ],
    ids=["none", "empty", "no JSON", "nested", "no number of steps", "beyond a float"],
)
def test_without_figures_there_are_no_curves(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "log").write_text(content)
    with pytest.raises(DgaugError, match="yet"):
        read_curves(tmp_path / "log")
