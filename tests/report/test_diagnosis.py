"""What `dgaug doctor --run` says of a run that goes well, and of each that does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import RunCommand

import dgaug as library
from dgaug.models import checkpoints
from dgaug.report.diagnosis import diagnose
from dgaug.report.doctor import Finding
from dgaug.runs import Run


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    """A copy that may be changed."""
    parts = shutil.ignore_patterns("store", "scores", "reid")
    return Run(Path(shutil.copytree(tiny_run.folder, tmp_path / "run", ignore=parts)))


def found(run: Run, name: str) -> Finding:
    (finding,) = [one for one in diagnose(run.folder) if one.name == name]
    return finding


def change_checkpoint(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = torch.load(path, map_location="cpu", weights_only=True)
    change(content["networks"])
    checkpoints.save(path, {name: value for name, value in content.items() if name != "sha256"})


def test_a_run_that_is_trained(run: Run) -> None:
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    assert found(run, "training").ok
    assert found(run, "weights of terms").ok
    assert "training images, chance" in found(run, "teacher").found
    assert "dgaug synthesize --run" in found(run, "store").remedy
    assert "dgaug train-reid --run" in found(run, "re-id").remedy
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_a_generator_that_ignores_appearance(run: Run) -> None:
    assert found(run, "generated images, appearance").ok

    def same_clothes(networks: dict[str, Any]) -> None:
        for name, value in networks["appearance"].items():
            if name.startswith("backbone.") and name.endswith(("weight", "running_var")):
                value.zero_() if name.endswith("weight") else value.fill_(1)

    change_checkpoint(run.checkpoint, same_clothes)
    finding = found(run, "generated images, appearance")
    assert not finding.ok
    assert "ignores the clothes" in finding.remedy
    assert found(run, "generated images, structure").name  # the others are still looked at


def test_a_teacher_that_knows_nobody(run: Run) -> None:
    content = torch.load(run.teacher, map_location="cpu", weights_only=True)
    for name, value in content["network"].items():
        if "classify" in name:
            value.zero_()
    checkpoints.save(run.teacher, content)
    finding = found(run, "teacher")
    assert not finding.ok
    assert "--set teacher.iterations=N" in finding.remedy


def test_too_few_iterations_for_the_ramps(run: Run) -> None:
    text = run.config.read_text(encoding="utf-8")
    start = next(line for line in text.splitlines() if line.strip().startswith("ramp_start"))
    run.config.write_text(text.replace(start, start.split(":")[0] + ": 0.99"), encoding="utf-8")
    finding = found(run, "weights of terms")
    assert not finding.ok
    assert "schedule.ramp_start" in finding.remedy


def test_a_store_of_another_state_of_the_generator(run: Run) -> None:
    library.synthesize(run.folder, pairs="random:4")
    assert "4 images of this checkpoint" in found(run, "store").found
    change_checkpoint(run.checkpoint, lambda networks: next(iter(networks["averaged"].values())).add_(1e-3))
    finding = found(run, "store")
    assert not finding.ok
    assert finding.remedy.endswith("--force")


def test_a_model_below_its_twin(run: Run) -> None:
    gain = {"mean": -0.02, "low": -0.03, "high": -0.01, "seeds": 3, "spread": 0.001}
    run.reid.mkdir()
    content = {"differences": {"real only": {"mAP (sum, valid queries)": gain}}}
    (run.reid / "results.json").write_text(json.dumps(content), encoding="utf-8")
    finding = found(run, "re-id")
    assert not finding.ok
    assert "-2.0 against “real only”, seeds 3, 95 % [-3.0, -1.0]" in finding.found


def test_what_cannot_be_read_is_a_finding_and_the_rest_is_looked_at(run: Run, dgaug: RunCommand) -> None:
    run.checkpoint.write_bytes(b"no checkpoint")
    run.log.unlink()
    assert {one.name for one in diagnose(run.folder) if not one.ok} >= {"training", "generated images"}
    output = dgaug("doctor", "--run", run.folder, "--json")
    assert output.code == 0
    assert any(one["name"] == "teacher" and one["ok"] for one in json.loads(output.out))
