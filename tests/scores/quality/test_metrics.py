"""Every score says what it is, and which way is good."""

from __future__ import annotations

import re
from pathlib import Path

from dgaug_cli.score_fid import METRICS as HELP

from dgaug.runs import Run
from dgaug.scores.quality.metrics import METRICS, good, meaning
from dgaug.scores.quality.score import score_fid


def test_every_score_of_a_run_has_a_meaning_of_its_own(tiny_run: Run, tmp_path: Path) -> None:
    scores = score_fid(run=tiny_run.folder, out=tmp_path)["scores"]
    meanings = {name: meaning(name, scores) for name in scores}
    assert [name for name, text in meanings.items() if not text and not name.endswith("_spread")] == []
    assert meanings["duplicates_teacher"] != meanings["duplicates_threshold_teacher"]


def test_the_good_way_is_that_of_the_meaning() -> None:
    scores = {"frechet_teacher": 1.0, "frechet_teacher_floor": 0.5}
    assert (good("frechet_teacher", scores), good("precision_teacher", scores)) == ("low", "high")
    assert good("identity_rank1_structure", scores) == "low"
    assert (good("ssim_self_reconstruction", scores), good("l1_self_reconstruction", scores)) == ("high", "low")
    assert good("frechet_teacher_floor", scores) == ""
    assert good("unheard_of", scores) == ""


def test_the_help_names_every_metric_and_so_does_the_page() -> None:
    assert set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", HELP))) == set(METRICS)
    page = Path(__file__).parents[3].joinpath("docs/scores.md").read_text(encoding="utf-8")
    assert [name for name in METRICS if name not in page] == []
