"""Run folders: numbers, the latest one, one writer at a time, and other settings refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_run import finish_process, start_process, write_config

from dgaug.errors import DgaugError
from dgaug.runs import Run, find_run, locked, new_run, newest_run
from dgaug.training.train import train


def with_checkpoint(run: Run) -> Run:
    run.checkpoint.parent.mkdir()
    run.checkpoint.touch()
    return run


def test_runs_are_numbered_after_the_highest_one_whatever_they_are_called(tmp_path: Path) -> None:
    assert new_run("toy", tmp_path / "runs").folder.name == "00001-toy"
    (tmp_path / "runs" / "00041-other").mkdir()
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "00099-a-file").touch()
    assert new_run("toy", tmp_path / "runs").folder.name == "00042-toy"


def test_the_latest_run_is_the_highest_number_that_has_a_checkpoint(tmp_path: Path) -> None:
    first, second, third = (new_run("toy", tmp_path) for _ in range(3))
    with_checkpoint(second)
    with_checkpoint(first)
    assert find_run("latest", tmp_path).folder == second.folder
    newest = newest_run(tmp_path)
    assert newest is not None
    assert newest.folder == third.folder


def test_numbers_are_compared_as_numbers(tmp_path: Path) -> None:
    for name in ("00002-toy", "100000-toy", "00010-toy"):
        (tmp_path / name).mkdir()
        with_checkpoint(Run(tmp_path / name))
    assert find_run("latest", tmp_path).folder.name == "100000-toy"


def test_a_run_is_found_by_its_number_and_by_its_path(tmp_path: Path) -> None:
    run = new_run("toy", tmp_path)
    assert find_run("1", tmp_path).folder == run.folder
    assert find_run("00001", tmp_path).folder == run.folder
    assert find_run(str(run.folder)).folder == run.folder


def test_no_run_says_where_was_looked(tmp_path: Path) -> None:
    new_run("toy", tmp_path)
    with pytest.raises(DgaugError, match=f"no run with a checkpoint under {tmp_path}"):
        find_run("latest", tmp_path)
    with pytest.raises(DgaugError, match=f"no run number 7 under {tmp_path}"):
        find_run("7", tmp_path)
    with pytest.raises(DgaugError, match="no such run folder"):
        find_run(str(tmp_path / "gone"))
    assert newest_run(tmp_path / "gone") is None


def test_a_second_writer_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    output = f"another process is writing the run {tmp_path}"
    with locked(tmp_path, what="run"), pytest.raises(DgaugError, match=output), locked(tmp_path, what="run"):
        pytest.fail("two writers")
    with locked(tmp_path, what="run"):
        pass


def test_another_process_is_refused_too(tmp_path: Path, tiny_config: Path) -> None:
    with locked(tmp_path / "run", what="run"):
        ended = finish_process(start_process("train", "--config", tiny_config, "--out", tmp_path / "run"))
    assert "another process is writing" in ended.error()


def test_a_run_records_its_settings_and_what_it_was_made_with(tiny_run: Run) -> None:
    recorded = json.loads((tiny_run.folder / "environment.json").read_text(encoding="utf-8"))
    assert recorded["seed"] == 0
    assert recorded["versions"].keys() >= {"dgaug", "torch", "python"}
    assert recorded["data"]["root"] == "data"
    assert recorded["data"]["images"] == 24
    assert len(recorded["data"]["fingerprint"]) == 64
    assert tiny_run.data_root() == tiny_run.folder / "data"


def test_other_settings_are_refused_by_name_and_leave_the_run_as_it_was(tiny_run: Run, tmp_path: Path) -> None:
    other = write_config(tmp_path / "other.yaml", schedule={"iterations": 9})
    before = tiny_run.checkpoint.read_bytes()
    with pytest.raises(DgaugError, match=r"other settings \(schedule.iterations: 8 -> 9\).*--force starts over"):
        train(config=other, out=tiny_run.folder)
    assert tiny_run.checkpoint.read_bytes() == before
    assert tiny_run.settings().schedule.iterations == 8


def test_force_starts_over_with_other_settings(tmp_path: Path) -> None:
    short = {"teacher": {"iterations": 2}, "schedule": {"iterations": 1}}
    run = train(config=write_config(tmp_path / "a.yaml", **short), out=tmp_path / "run")
    (run.folder / "notes.txt").touch()
    short["schedule"] = {"iterations": 2}
    train(config=write_config(tmp_path / "b.yaml", **short), out=run.folder, force=True)
    assert run.settings().schedule.iterations == 2
    assert (run.folder / "notes.txt").exists(), "not ours"


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, tiny_config: Path, force: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(DgaugError, match="is not a run folder"):
        train(config=tiny_config, out=tmp_path, force=force)
    assert (tmp_path / "thesis.tex").read_text(encoding="utf-8") == "years of work"


def test_a_folder_without_settings_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match=r"has no config\.yaml"):
        Run(tmp_path).settings()


def test_a_teacher_for_other_identities_is_refused_before_anything_is_made(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dgaug.data.toy import write_toy

    write_toy(tmp_path / "people", identities=3, images_per_identity=2, size=(64, 32), cameras=2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DgaugError, match=r"the teacher knows 6 identities, .* has 3"):
        train(tmp_path / "people", tiny_run.config, teacher=tiny_run.teacher)
    assert not (tmp_path / "runs").exists()


def test_a_run_killed_before_its_settings_were_whole_is_begun_again(tmp_path: Path, tiny_run: Run) -> None:
    (tmp_path / "data.part").mkdir()
    (tmp_path / "environment.json").write_text("{}", encoding="utf-8")
    (tmp_path / ".config.yaml.part.yaml").write_text("name: ti", encoding="utf-8")
    config = write_config(tmp_path.parent / "a.yaml", teacher={"iterations": 2}, schedule={"iterations": 1})
    run = train(config=config, out=tmp_path)
    assert run.data_root() == tmp_path / "data"
