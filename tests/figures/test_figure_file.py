"""Figures are files: no backend, style or LaTeX of the user has a say, and none of it is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from dgaug.figures.charts import Interval, clouds, intervals, save_figure

SCRIPT = """
import os
from pathlib import Path
from dgaug.figures.charts import save_figure
from dgaug.figures.charts import Interval, intervals
import dgaug.scores.quality.score, dgaug.studies.ablation
save_figure(intervals([Interval("a", "b", [0.5], None)], title="t"), Path("chart.png"))
import matplotlib
print(os.environ["MPLBACKEND"], matplotlib.rcParams._get("backend"))
"""


@pytest.mark.parametrize(
    ("backend", "kept"),
    [("module://matplotlib_inline.no_such", True), ("no-such-backend", False), ("svg", True), ("", False)],
)
def test_a_backend_of_a_notebook_ends_nothing_and_stays_asked_for(tmp_path: Path, backend: str, kept: bool) -> None:
    environment = os.environ | {"MPLBACKEND": backend}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "chart.png").is_file()
    words = ended.stdout.split(" ", 1)
    assert words[0] == backend
    assert (words[1].strip() == backend) == kept


def test_a_style_of_the_user_changes_no_figure(tmp_path: Path) -> None:
    features = np.random.default_rng(0).standard_normal((20, 3))
    lines = [Interval("a", "of $x", [0.5, 0.6], (0.1, 0.0, 0.2)), Interval("b", "c", [0.4], None)]

    def drawn(name: str) -> list[bytes]:
        figures = clouds(features, features + 1, encoder="e"), intervals(lines, title="t")
        return [save_figure(one, tmp_path / f"{name}{at}.png").read_bytes() for at, one in enumerate(figures)]

    plain = drawn("plain")
    with matplotlib.rc_context({"text.usetex": True, "axes.facecolor": "black", "savefig.dpi": 30, "font.size": 30}):
        assert drawn("styled") == plain
        assert matplotlib.rcParams["text.usetex"] is True
