"""`data check` and `train --dry-run` end with the command that fits the data, its time and its memory."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from dgaug_cli.train import first_pairs
from PIL import Image
from tiny_run import RunCommand, tiny_settings

from dgaug.data.toy import write_toy
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.settings import load_settings, setting_text
from dgaug.training import planner
from dgaug.training.estimate import TIMED, Timing, time_of, time_training
from dgaug.training.planner import plan_training

TIMING = Timing(teacher=0.5, dgnet=2.0, iterations=6, memory=2**30)


@pytest.fixture
def _not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "time_training", lambda *given, **named: TIMING)
    monkeypatch.setattr(planner, "default_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(planner, "_load", lambda: 0.0)


def write_people(root: Path, size: tuple[int, int], *, identities: int = 20, images: int = 2) -> Path:
    """A folder of an identity each, width x height as Pillow has it."""
    for number in range(identities * images):
        path = root / f"person {number % identities:02d}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", size)
        image.putpixel((0, 0), (number, 255 - number, 200))
        image.save(path)
    return root


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_the_command_that_a_check_ends_with_is_accepted_and_means_the_same(
    tmp_path: Path, dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_toy(tmp_path / "my people", identities=2, images_per_identity=2, size=(64, 32))
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    checked = dgaug("data", "check", "my people")
    assert checked.code == 0
    assert files(tmp_path) == before
    command = next(line for line in checked.err.splitlines() if line.startswith("next: ")).removeprefix("next: ")
    assert command == "dgaug train --data 'my people' --config toy"
    assert "few identities: 2" in checked.err
    assert "estimate: about " in checked.err
    dry = dgaug(*shlex.split(command)[1:], "--dry-run", "--json")
    assert dry.code == 0
    found = json.loads(dry.out)
    assert (found["command"], found["preset"], found["image_size"]) == (command, "toy", [64, 32])
    assert found["iterations"] == {"teacher": 400, "dgnet": 700}
    assert found["seconds"] > 0
    assert files(tmp_path) == before


@pytest.mark.usefixtures("_not_timed")
def test_what_the_data_ask_for_is_chosen_and_said(tmp_path: Path, dgaug: RunCommand) -> None:
    cars = write_people(tmp_path / "cars", (60, 40))
    found = json.loads(dgaug("data", "check", cars, "--json").out)["next"]
    assert (found["preset"], found["image_size"], found["enough"]) == ("market1501-cpu", [80, 112], True)
    assert "--set data.height=80 --set data.width=112" in found["command"]
    assert any("0.67 times as high as wide" in remark for remark in found["remarks"])
    assert found["seconds"] == 1200 * 0.5 + 3000 * 2.0
    kept = json.loads(dgaug("train", "--data", cars, "--set", "data.width=64", "--dry-run", "--json").out)
    assert kept["image_size"] == [128, 64]
    assert any("--set data.height=80 --set data.width=112 fits" in remark for remark in kept["remarks"])
    for image in (cars / "person 00").iterdir():
        image.write_bytes(b"")
    checked = dgaug("data", "check", cars, "--pattern", "(?P<identity>[0-9]+: ?|[0-9]+)/")
    assert checked.code == 1
    assert "few identities: 19" in checked.err, "damaged images are no identity's"
    words = shlex.split(next(line for line in checked.err.splitlines() if line.startswith("next: ")))
    settings = load_settings(overrides=[words[k + 1] for k, word in enumerate(words) if word == "--set"])
    assert (settings.data.pattern, settings.data.damaged) == ("(?P<identity>[0-9]+: ?|[0-9]+)/", "skip")


@pytest.mark.usefixtures("_not_timed")
def test_what_a_file_or_a_network_settles_is_kept(tmp_path: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    cars = write_people(tmp_path / "cars", (60, 40))
    config = tmp_path / "mine.yaml"
    config.write_text("data: {height: 64, width: 32}\nmodel: {weights: none, backbone: small}\n")
    found = json.loads(dgaug("train", "--data", cars, "--config", config, "--dry-run", "--json").out)
    assert (found["image_size"], found["command"]) == ([64, 32], f"dgaug train --data {cars} --config {config}")
    small = ("--set", "data.height=64", "--set", "data.width=32", "--set", "model.backbone=small")
    dry = dgaug("train", "--data", tiny_run.data_root(), *small, "--teacher", tiny_run.teacher, "--dry-run")
    assert "backbone 'small' has no ImageNet weights; use --set model.weights=none" in dry.error()
    dry = dgaug(
        *("train", "--data", tiny_run.data_root(), *small, "--teacher", tiny_run.teacher),
        *("--set", "model.weights=none", "--dry-run", "--json"),
    )
    assert "--config" not in json.loads(dry.out)["command"], "as training would read it"


@pytest.mark.usefixtures("_not_timed")
def test_a_check_ends_with_its_report_whatever_hinders_a_plan(
    tmp_path: Path, dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    cars = write_people(tmp_path / "cars", (60, 40))
    monkeypatch.setattr(planner, "_require", Mock(side_effect=DgaugError("not here")))
    ended = dgaug("data", "check", cars, "--json")
    assert (ended.code, json.loads(ended.out)["next"]["remarks"]) == (0, ["not here"])
    assert "no training command: not here" in dgaug("data", "check", cars).err


@pytest.mark.usefixtures("_not_timed")
def test_data_that_cannot_be_trained_on_have_no_next_command(tmp_path: Path, dgaug: RunCommand) -> None:
    one = write_people(tmp_path / "one", (32, 64), identities=1)
    checked = dgaug("data", "check", one)
    assert checked.code == 0
    assert "next: " not in checked.err
    assert "too few to train: 1 identity" in checked.err
    assert "1 training identity found" in dgaug("train", "--data", one, "--dry-run").error()


@pytest.mark.usefixtures("_not_timed")
def test_a_plan_refuses_what_training_refuses(tmp_path: Path, dgaug: RunCommand) -> None:
    people = write_people(tmp_path / "people", (32, 64))
    for wrong, text in (
        (["--set", "data.heigth=64"], "did you mean 'height'"),
        (["--config", "gone"], "unknown preset"),
        (["--teacher", tmp_path / "gone.pt"], "gone.pt"),
        (["--set", "model.weights=gone.pth"], "backbone weights not found"),
        (["--resume"], "remove --resume"),
    ):
        assert text in dgaug("train", "--data", people, "--dry-run", *wrong).error()


@pytest.mark.usefixtures("_not_timed")
def test_little_memory_is_said_and_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = write_people(tmp_path / "people", (32, 64))
    monkeypatch.setattr(planner, "free_memory", lambda: 2**29)
    found = plan_training(people, set="model.weights=none")
    assert (found.seconds, found.timed) == (None, 0)
    assert found.remarks[0].startswith("not timed: an iteration needs about 1.2 GiB of memory and 0.5 GiB are free")
    assert found.lines()[-1].startswith("next: ")
    monkeypatch.setattr(planner, "free_memory", lambda: 2**40)
    monkeypatch.setattr(planner, "time_training", Mock(side_effect=RuntimeError("CUDA out of memory")))
    assert "not timed: too little memory for an iteration" in plan_training(people, set="model.weights=none").remarks[0]
    monkeypatch.setattr(planner, "time_training", Mock(side_effect=RuntimeError("another fault")))
    with pytest.raises(RuntimeError, match="another fault"):
        plan_training(people, set="model.weights=none")


@pytest.mark.usefixtures("_not_timed")
def test_images_that_are_read_again_and_again_get_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = write_people(tmp_path / "people", (32, 64))
    monkeypatch.setattr(planner, "CACHE_SHARE", 0.0)
    monkeypatch.setattr(planner, "time_training", lambda *given, **named: Timing(0.5, 1e-5, 6, 2**30))
    assert plan_training(people, set="model.weights=none").settings.data.workers in range(1, 9)
    assert plan_training(people, set=["model.weights=none", "data.workers=0"]).settings.data.workers == 0


def test_what_a_gpu_has_no_memory_for_is_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"schedule": 2, "teacher": 99}
    settings = load_settings("toy")
    plans = {settings.schedule: "schedule", settings.teacher: "teacher"}
    monkeypatch.setattr(planner, "fewest_turns", lambda trial, of, processes: limits[plans[of]])
    chosen = planner._Planner({"--set": [], "--config": "toy"}, {})
    assert not chosen._fit_memory(settings, 3, torch.device("cpu"))
    assert chosen.added == ["schedule.accumulation=2"]
    limits["teacher"] = 1
    assert chosen._fit_memory(settings, 3, torch.device("cpu"))


@pytest.mark.parametrize(
    "pattern",
    ["(?P<identity>[a-z]+)_", "[0-9]+(?P<identity>x)", "a: (?P<identity>b) # c", "007", "é\U0001f600: (?P<x>b)"],
)
def test_the_text_of_a_setting_is_read_back_as_it_was(pattern: str) -> None:
    assert load_settings(overrides=[setting_text("data.pattern", pattern)]).data.pattern == pattern


def test_both_networks_are_timed_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings()
    timing = time_training(settings, 6, Processes(torch.device("cpu")))
    assert timing.teacher > 0
    assert timing.dgnet > timing.teacher
    assert timing.iterations == 2 * TIMED
    assert timing.seconds(settings) == 24 * timing.teacher + 8 * timing.dgnet
    assert 2**27 < timing.memory < 2**34
    assert files(tmp_path) == set()


def test_a_long_iteration_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 9))
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    assert time_of(lambda: None, torch.device("cpu")) == (9, 1)
    assert time_of(lambda: None, torch.device("cpu"), iterations=2) == (4.5, 2), "after one call that warms up"
    assert next(now) == 9 * 6


def test_a_first_store_of_many_images_has_some_of_the_pairs(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_pairs(tiny_run) == "all"
    monkeypatch.setattr("dgaug_cli.train.MANY", 24 * 24 - 1)
    assert first_pairs(tiny_run) == "per-appearance:10"


def test_the_data_must_be_there() -> None:
    with pytest.raises(DgaugError, match="no such folder"):
        plan_training("gone")
