"""`dgaug import`, and every command on a run whose class names are unknown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_run import IDENTITIES, RunCommand, write_config

from dgaug.files import read_json, write_json
from dgaug.models import checkpoints
from dgaug.runs import Run
from dgaug.store.read import open_store


@pytest.fixture(scope="module")
def nameless(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """The tiny run as if it had been imported without data, and its data elsewhere."""
    folder = tmp_path_factory.mktemp("nameless")
    run, data = Run(folder / "run"), folder / "people"
    shutil.copytree(tiny_run.folder, run.folder, ignore=shutil.ignore_patterns("store", "data"))
    shutil.copytree(tiny_run.data_root(), data)
    for path in (run.checkpoint, run.teacher):
        content = torch.load(path, weights_only=True)
        checkpoints.save(path, content | {"class_names": checkpoints.stated_classes(None, IDENTITIES)})
    about = run.folder / "environment.json"
    write_json(about, read_json(about) | {"data": None})
    return run, data


def test_every_command_takes_a_run_without_names_and_data_of_its_number(
    nameless: tuple[Run, Path], dgaug: RunCommand, tmp_path: Path
) -> None:
    run, data = nameless
    store = ("--out", tmp_path / "store")
    assert dgaug("synthesize", "--run", run.folder, "--data", data, *store, "--pairs", "random:40").code == 0
    assert len(open_store(tmp_path / "store")) == 40
    scored = dgaug("score-fid", tmp_path / "store", "--run", run.folder, "--real", data, "--out", tmp_path, "--json")
    assert scored.code == 0, scored.err
    assert {"identity_is_appearance", "oracle"} <= json.loads(scored.out)["scores"].keys()
    fed = ("--store", tmp_path / "store", "--no-twin", "--out", tmp_path / "reid")
    assert dgaug("train-reid", "--run", run.folder, "--data", data, *fed).code == 0
    assert dgaug("grid", "--run", run.folder, "--data", data, "--count", "2", "--out", tmp_path / "grid.png").code == 0
    assert (tmp_path / "grid.png").is_file()
    images = sorted((data / "query").iterdir())[:2]
    assert dgaug("swap", *images, "--run", run.folder, "--out", tmp_path / "swap.png").code == 0
    assert dgaug("eval-reid", run.checkpoint, "--data", data).code == 0
    config = write_config(tmp_path / "short.yaml", schedule={"iterations": 1})
    trained = ("--config", config, "--out", tmp_path / "trained")
    assert dgaug("train", "--data", data, "--teacher", run.teacher, *trained).code == 0


@pytest.mark.parametrize("command", ["synthesize", "grid", "train-reid --feed none"])
def test_data_that_are_not_known_are_asked_for(nameless: tuple[Run, Path], dgaug: RunCommand, command: str) -> None:
    name, *rest = command.split()
    assert "knows no data set" in dgaug(name, "--run", nameless[0].folder, *rest).error()


def test_a_run_without_teacher_says_how_to_go_on(nameless: tuple[Run, Path], dgaug: RunCommand, tmp_path: Path) -> None:
    run, data = nameless
    shutil.copytree(run.folder, tmp_path / "run", ignore=shutil.ignore_patterns("teacher"))
    command = ("synthesize", "--run", tmp_path / "run", "--data", data, "--pairs", "random:2")
    assert "has no teacher; give one with --teacher FILE" in dgaug(*command).error()
    assert dgaug(*command, "--teacher", "none").code == 0


def test_wrong_use_is_one_line_and_makes_nothing(tmp_path: Path, dgaug: RunCommand) -> None:
    (tmp_path / "empty").mkdir()
    out = ("--out", tmp_path / "run")
    assert "gone: no such folder" in dgaug("import", "gone", *out).error()
    assert "holds no gen_N.pt" in dgaug("import", tmp_path / "empty", *out).error()
    assert "gone.pth" in dgaug("import", tmp_path / "empty", "--teacher", "gone.pth", *out).error()
    assert "Missing option '--out'" in dgaug("import", tmp_path / "empty").error()
    assert "3 is not in the range" in dgaug("import", tmp_path / "empty", "--teacher-stride", "3", *out).error()
    assert [item.name for item in tmp_path.iterdir()] == ["empty"]
