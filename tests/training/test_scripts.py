"""A script of a user's own: without a `__main__` guard, or from standard input, with images read ahead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dgaug.data.toy import write_toy

SCRIPT = """
import dgaug
run = dgaug.train("people", "tiny.yaml", out="run", overrides=["data.workers=2"])
made = dgaug.synthesize(run.folder, pairs="random:20")
scores = dgaug.score_fid(run=run.folder, metrics=["frechet"], workers=2)
results = dgaug.train_reid(run.folder, overrides=["data.workers=2"])
print("models:", len(results["runs"]))
"""


@pytest.mark.parametrize("form", ["file", "standard input"])
def test_the_example_of_the_readme_runs_as_it_stands(tmp_path: Path, tiny_config: Path, form: str) -> None:
    write_toy(tmp_path / "people", identities=6, images_per_identity=4, size=(64, 32))
    (tmp_path / "tiny.yaml").write_bytes(tiny_config.read_bytes())
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "script.py" if form == "file" else "-"]
    given = SCRIPT if form == "standard input" else None
    ended = subprocess.run(command, cwd=tmp_path, input=given, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout) == (0, "models: 3\n"), ended.stderr
    assert "Traceback" not in ended.stderr
