"""Successes and failures are chosen by score, with a judge or without."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from dgaug.data.toy import is_toy
from dgaug.runs import Run
from dgaug.scores.quality import results
from dgaug.scores.quality.donor_metrics import Donors
from dgaug.scores.quality.image_sets import ImageSet
from dgaug.scores.quality.oracle import GENERATED, clothed_body_errors, oracle_error
from dgaug.scores.quality.results import plot_unjudged_extremes
from dgaug.scores.quality.score import score_fid


def donors_of(run: Run, root: Path) -> Donors:
    donors = Donors.of(ImageSet.open(run.store), root, 0)
    assert isinstance(donors, Donors)
    return donors


def test_the_demo_shows_its_worst_and_best_without_a_judge(tiny_run: Run, tmp_path: Path) -> None:
    score_fid(run=tiny_run.folder, metrics=["oracle"], out=tmp_path / "out")
    assert (tmp_path / "out" / "worst-and-best.png").stat().st_size > 1_000


def test_on_drawn_people_the_error_decides_and_low_is_good(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    donors = donors_of(tiny_run, tiny_run.data_root())
    drawn = Mock(wraps=results.extremes_sheet)
    monkeypatch.setattr(results, "extremes_sheet", drawn)
    plot_unjudged_extremes(donors, tmp_path / "sheet.png", wants={"oracle", "teacher"}.__contains__)
    worst, best = drawn.call_args.args[3]
    assert min(worst) > max(best)
    assert worst == sorted(worst, reverse=True)
    sample = donors.sample(donors.crossed)
    errors = clothed_body_errors(sample, donors.store.sources, donors.root)
    assert worst[0] == errors.max()
    mean = oracle_error(sample, donors.store.sources, donors.root)[GENERATED]["clothed_body"]
    assert np.isclose(errors.mean(), mean, rtol=0.1), "the same error, there weighted by the size of the body"


def test_elsewhere_the_teacher_decides(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "people"
    shutil.copytree(
        tiny_run.data_root(), data, ignore=lambda _, names: [name for name in names if name.endswith("json")]
    )
    assert not is_toy(data)
    donors = donors_of(tiny_run, data)
    drawn = Mock(wraps=results.extremes_sheet)
    monkeypatch.setattr(results, "extremes_sheet", drawn)
    plot_unjudged_extremes(donors, tmp_path / "sheet.png", wants={"oracle", "teacher"}.__contains__)
    worst, best = drawn.call_args.args[3]
    assert 0 <= max(worst) <= min(best) <= 1
    assert "teacher" in drawn.call_args.kwargs["what"]
