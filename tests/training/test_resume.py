"""A run that was stopped, however, ends in the same bits as one that was not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from held import Hold, start_held
from tiny_run import (
    RunCommand,
    assert_same_checkpoint,
    finish_process,
    signal_at,
    start_process,
    write_config,
)

from dgaug.errors import DgaugError, Interrupted
from dgaug.runs import Run
from dgaug.training.train import train


class StopAt:
    """A listener that sends this process a signal when a phase has done so much."""

    def __init__(self, title: str, done: int, number: int = signal.SIGINT) -> None:
        self.title, self.done, self.number = title, done, number
        self.seen: list[tuple[str, int]] = []

    def __call__(self, title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        self.seen.append((title, done))
        if (title, done) == (self.title, self.done):
            os.kill(os.getpid(), self.number)

    def first(self, title: str) -> int:
        return next(done for name, done in self.seen if name == title)


def iteration_of(run: Run) -> int:
    return int(torch.load(run.checkpoint, weights_only=True)["iteration"])


def assert_same_run(run: Run, undisturbed: Run) -> None:
    assert_same_checkpoint(run.checkpoint, undisturbed.checkpoint)
    assert_same_checkpoint(run.teacher, undisturbed.teacher)
    last = max(path.name for path in undisturbed.samples.iterdir())
    assert (run.samples / last).read_bytes() == (undisturbed.samples / last).read_bytes()


def test_an_interruption_in_every_phase_changes_nothing(tmp_path: Path, tiny_run: Run, tiny_config: Path) -> None:
    run = Run(tmp_path / "run")
    stops = [StopAt("teacher", 5), StopAt("teacher", 17, signal.SIGTERM), StopAt("DG-Net", 3), StopAt("DG-Net", 6)]
    for stop in stops:
        with pytest.raises(Interrupted) as interrupted:
            train(config=tiny_config, out=run.folder, progress=stop)
        assert interrupted.value.signal_number == stop.number
    assert stops[1].first("teacher") == 6
    assert stops[3].first("DG-Net") == 4
    assert iteration_of(run) == 6
    train(config=tiny_config, out=run.folder)
    assert_same_run(run, tiny_run)


def test_checkpoints_are_kept_by_number(tmp_path: Path, tiny_run: Run) -> None:
    run = train(config=write_config(tmp_path / "a.yaml", checkpoint={"every": 3}), out=tmp_path / "run")
    folder = run.checkpoint.parent
    assert sorted(path.name for path in folder.iterdir()) == ["00000003.pt", "00000006.pt", "last.pt"]
    assert_same_checkpoint(folder / "00000006.pt", tiny_run.checkpoint.with_name("00000006.pt"))


def test_checkpoints_between_iterations_change_nothing(tmp_path: Path, tiny_run: Run) -> None:
    rare = write_config(tmp_path / "rare.yaml", checkpoint={"every": 1000})
    run = train(config=rare, out=tmp_path / "run")
    assert_same_run(run, tiny_run)


def test_a_run_killed_twice_without_warning_ends_the_same(
    tmp_path: Path, tiny_run: Run, tiny_config: Path, dgaug: RunCommand
) -> None:
    run = Run(tmp_path / "run")
    command = ("train", "--config", tiny_config, "--out", run.folder, "--resume")
    killed = signal_at(run.teacher.with_name("last.state.pt"), signal.SIGKILL, *command)
    assert killed.code == -signal.SIGKILL
    assert not run.teacher.exists()
    killed = signal_at(run.checkpoint, signal.SIGKILL, "train", "--out", run.folder, "--resume")
    assert killed.code == -signal.SIGKILL
    assert 1 <= iteration_of(run) < 8
    assert dgaug("train", "--resume", "--out", run.folder).code == 0
    assert_same_run(run, tiny_run)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_killed_at_random_moments_ends_the_same(tmp_path: Path, tiny_run: Run, workers: int) -> None:
    """SIGKILL wherever it hits: between iterations, inside one, while a checkpoint or a log line is written."""
    run = Run(tmp_path / "run")
    config = write_config(tmp_path / "a.yaml", data={"workers": workers})
    moments, reached = random.Random(workers), [0]
    while reached[-1] < 5:
        # It waits two iterations later, however long the kill takes on a busy machine.
        where = Hold(run.checkpoint.with_name(f"{reached[-1] + 2:08d}.pt"))
        process = start_held(where, "train", "--config", config, "--out", run.folder, "--teacher", tiny_run.teacher)
        while not run.checkpoint.with_name(f"{reached[-1] + 1:08d}.pt").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.15))
        process.kill()
        assert finish_process(process).code == -signal.SIGKILL
        reached.append(iteration_of(run))
    assert reached == sorted(set(reached)), "it resumed between the kills"
    train(config=config, out=run.folder, teacher=tiny_run.teacher)
    assert_same_checkpoint(run.checkpoint, tiny_run.checkpoint)
    assert [json.loads(line)["iteration"] for line in run.log.open()] == list(range(8))
    assert not list(run.folder.rglob("*.part"))


def test_settings_that_no_weight_depends_on_may_change_and_are_recorded(
    tmp_path: Path, tiny_config: Path, tiny_run: Run
) -> None:
    with pytest.raises(Interrupted):
        train(config=tiny_config, out=tmp_path, progress=StopAt("DG-Net", 2))
    run = train(out=tmp_path, resume=True, overrides=["checkpoint.every=4", "data.workers=1"])
    assert_same_checkpoint(run.checkpoint, tiny_run.checkpoint)
    assert (run.settings().checkpoint.every, run.settings().data.workers) == (4, 1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_request_to_end_saves(
    number: int, code: int, tmp_path: Path, tiny_run: Run, tiny_config: Path, dgaug: RunCommand
) -> None:
    run = Run(tmp_path / "run")
    command = ("train", "--config", tiny_config, "--out", run.folder, "--teacher", tiny_run.teacher)
    ended = signal_at(run.checkpoint, number, *command)
    assert ended.code == code
    assert "saved" in ended.err
    assert "Traceback" not in ended.err
    assert 1 <= iteration_of(run) < 8
    assert f"dgaug train --resume --out {run.folder}" in ended.err
    assert dgaug("train", "--resume", "--out", run.folder).code == 0
    assert_same_checkpoint(run.checkpoint, tiny_run.checkpoint)


def test_a_complete_run_is_left_alone_and_says_so(tiny_run: Run, tiny_config: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (tiny_run.checkpoint, tiny_run.teacher, tiny_run.config)}
    for command in (("--config", tiny_config), ("--resume",)):
        ended = finish_process(start_process("train", *command, "--out", tiny_run.folder))
        assert ended.code == 0
        assert "already complete" in ended.err
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_resume_takes_the_settings_of_the_run(tmp_path: Path, tiny_config: Path, tiny_run: Run) -> None:
    run = Run(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(config=tiny_config, out=run.folder, progress=StopAt("DG-Net", 2))
    train(out=run.folder, resume=True)
    assert_same_run(run, tiny_run)


def test_resume_without_a_run_starts_one_and_then_finds_it(
    tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Interrupted):
        train(config=tiny_config, resume=True, progress=StopAt("teacher", 2))
    second = train(resume=True)
    assert second.folder.resolve() == tmp_path / "runs" / "00001-tiny"
    assert iteration_of(second) == 8


def test_resume_with_another_setting_is_refused(tmp_path: Path, tiny_config: Path) -> None:
    with pytest.raises(Interrupted):
        train(config=tiny_config, out=tmp_path, progress=StopAt("teacher", 2))
    with pytest.raises(DgaugError, match=r"other settings \(seed: 0 -> 5\)"):
        train(out=tmp_path, resume=True, seed=5)


def test_data_that_moved_are_found_where_they_are_given_now(tmp_path: Path, tiny_config: Path, tiny_run: Run) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(tiny_run.data_root(), before)
    with pytest.raises(Interrupted):
        train(before, tiny_config, out=tmp_path / "run", progress=StopAt("teacher", 2))
    before.rename(after)
    run = train(after, out=tmp_path / "run", resume=True)
    assert run.data_root() == after
    assert_same_checkpoint(run.checkpoint, tiny_run.checkpoint)


def test_data_that_changed_since_are_refused(tmp_path: Path, tiny_config: Path, tiny_run: Run) -> None:
    from dgaug.data.toy import write_toy

    people = tmp_path / "people"
    write_toy(people, identities=3, images_per_identity=3, cameras=2)
    with pytest.raises(Interrupted):
        train(people, tiny_config, out=tmp_path / "run", progress=StopAt("teacher", 2))
    next((people / "bounding_box_train").iterdir()).unlink()
    with pytest.raises(DgaugError, match=r"are not those .* was started with"):
        train(people, tiny_config, out=tmp_path / "run", resume=True)


def test_the_log_of_a_crashed_run_has_each_iteration_once(tmp_path: Path, tiny_run: Run) -> None:
    run = Run(tmp_path / "run")
    seldom = write_config(tmp_path / "seldom.yaml", checkpoint={"every": 5})
    for title in ("teacher", "DG-Net"):

        def crash(found: str, done: int, total: int, values: object = None, *, title: str = title) -> None:
            if (found, done) == (title, 7):  # two iterations after the last save
                raise RuntimeError("power cut")

        with pytest.raises(RuntimeError, match="power cut"):
            train(config=seldom, out=run.folder, progress=crash)
    train(config=seldom, out=run.folder)
    mine, theirs = ([json.loads(line) for line in file.open()] for file in (run.log, tiny_run.log))
    assert mine == theirs


def test_half_a_line_in_the_log_is_cut_off(tmp_path: Path, tiny_config: Path, tiny_run: Run) -> None:
    run = Run(tmp_path / "run")
    with pytest.raises(Interrupted):
        train(config=tiny_config, out=run.folder, progress=StopAt("DG-Net", 3))
    with run.log.open("a", encoding="utf-8") as log:
        log.write('{"phase": "dgn')
    train(config=tiny_config, out=run.folder)
    assert run.log.read_text(encoding="utf-8") == tiny_run.log.read_text(encoding="utf-8")


def test_the_log_shows_terms_and_weights_and_nothing_that_is_off(tiny_run: Run) -> None:
    lines = [json.loads(line) for line in tiny_run.log.open()]
    first = next(line for line in lines if line["phase"] == "dgnet")
    last = lines[-1]
    assert first["weights"].keys() < last["weights"].keys()
    assert last["weights"].keys() <= last["terms"].keys()
    assert "teacher" not in first["terms"]
