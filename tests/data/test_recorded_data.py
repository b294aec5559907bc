from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tiny_run import RunCommand, tiny_settings, write_config

from dgaug.data.layouts import open_data
from dgaug.data.prepare import read_data
from dgaug.data.recorded import described, read_run_data, write_records
from dgaug.errors import DgaugError
from dgaug.runs import Run

WriteTree = Callable[[Iterable[str]], Path]
HEADER = "path,identity,camera,split\n"
ROWS = "anna/1.png,anna,1,train\nanna/2.png,anna,2,train\nbert/1.png,bert,1,train\n"


@pytest.fixture
def photos(write_tree: WriteTree) -> Path:
    """Five images of three people, of which `some.csv` names three of two people."""
    root = write_tree(f"{image}.png" for image in ("anna/1", "anna/2", "bert/1", "bert/2", "cleo/1"))
    (root / "some.csv").write_text(HEADER + ROWS)
    return root


def begun(folder: Path, data: Path) -> Run:
    """A run that was begun with some data and did nothing else."""
    run, settings = Run(folder), tiny_settings(data={"height": 64, "width": 32, "root": str(data)})
    content = read_data(data, settings.data)
    folder.mkdir()
    write_records(run, content)
    run.begin(settings, described(content))
    return run


def as_of_b44ef3f(run: Run) -> None:
    """What 0.1 recorded at first: the folder of a manifest, and no records."""
    path = run.folder / "environment.json"
    content = json.loads(path.read_text())
    del content["data"]["records"]
    root = Path(content["data"]["root"])
    content["data"]["root"] = str(root.parent if root.suffix == ".csv" else root)
    path.write_text(json.dumps(content))
    run.records.unlink()


def test_a_manifest_of_any_name_is_what_a_run_reads_again(photos: Path, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", photos / "some.csv")
    assert (run.data_root(), run.data_folder()) == (photos / "some.csv", photos)
    assert read_run_data(run).splits == open_data(photos / "some.csv").splits
    as_of_b44ef3f(run)
    assert read_run_data(run).splits == open_data(photos / "some.csv").splits


def test_every_command_reads_the_manifest_that_train_was_given(photos: Path, tmp_path: Path, dgaug: RunCommand) -> None:
    config = write_config(tmp_path / "c.yaml", teacher={"iterations": 1}, schedule={"iterations": 1})
    assert dgaug("train", "--data", photos / "some.csv", "--config", config, "--out", tmp_path / "run").code == 0
    made = dgaug("synthesize", "--run", tmp_path / "run", "--pairs", "all", "--json")
    assert json.loads(made.out)["count"] == 9
    assert "3 images of 2 identities, 2 cameras" in made.err
    (photos / "some.csv").write_text(HEADER + ROWS + "cleo/1.png,cleo,1,train\n")
    for command in ("synthesize --pairs random:2", "grid", "score-fid", "train-reid --feed none", "report"):
        error = dgaug(*command.split(), "--run", tmp_path / "run", "--force").err
        if command != "report":
            assert "1 image more (cleo/1.png)" in error, command
    assert "1 image more (cleo/1.png)" in dgaug("train", "--resume", "--out", tmp_path / "run").error()


def test_a_link_to_a_manifest_is_read_from_where_it_lies(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (photos / "some.csv").rename(tmp_path / "lists/some.csv")
    (photos / "now.csv").symlink_to(tmp_path / "lists/some.csv")
    run = begun(tmp_path / "run", photos / "now.csv")
    assert run.data_root() == photos / "now.csv"
    assert len(read_run_data(run).splits["train"]) == 3


@pytest.mark.parametrize(
    ("rows", "difference"),
    [
        (ROWS + "bert/2.png,bert,2,train\n", r"with: 1 image more \(bert/2\.png\); "),
        (ROWS.replace("anna/2.png", "bert/2.png"), r"1 image more \(bert/2\.png\), 1 image missing \(anna/2\.png\)"),
        (ROWS.replace("anna,2", "bert,2"), r"1 image of another identity \(anna/2\.png: 'anna', now 'bert'\)"),
        (ROWS.replace("anna,1,", "anna,,"), r"1 image of another camera \(anna/1\.png: '1', now unknown\)"),
        (ROWS.replace(",1,train", ",7,train"), r"2 images of another camera \(anna/1\.png: '1', now '7', \.\.\.\)"),
        (ROWS.replace("anna,2,train", "anna,2,query"), r"1 image missing \(anna/2\.png\)"),
    ],
)
def test_other_training_records_are_refused_with_what_differs(
    photos: Path, tmp_path: Path, rows: str, difference: str
) -> None:
    run = begun(tmp_path / "run", photos / "some.csv")
    (photos / "some.csv").write_text(HEADER + rows)
    with pytest.raises(DgaugError, match=rf"some\.csv are not those .*run was started .*{difference}"):
        read_run_data(run)


def test_a_folder_is_compared_too_whatever_its_layout(photos: Path, tmp_path: Path, write_tree: WriteTree) -> None:
    (photos / "some.csv").unlink()
    run = begun(tmp_path / "run", photos)
    assert len(read_run_data(run).splits["train"]) == 5
    write_tree(["dora/1.png", "dora/2.png"])
    with pytest.raises(DgaugError, match=r"2 images more \(dora/1\.png, \.\.\.\)"):
        read_run_data(run)
    as_of_b44ef3f(run)
    with pytest.raises(DgaugError, match=r"7 training images, 5 were recorded"):
        read_run_data(run)


def test_limits_and_camera_policies_of_a_command_are_no_other_data(photos: Path, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", photos / "some.csv")
    own = run.settings().data
    few = own.model_copy(update={"images_per_identity": 1, "cameras": "none"})
    assert len(read_run_data(run, few).splits["train"]) == 2


def test_a_test_split_that_is_added_is_welcome_and_one_that_changed_is_said(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = begun(tmp_path / "run", photos / "some.csv")
    (photos / "some.csv").write_text(HEADER + ROWS + "cleo/1.png,cleo,1,query\n")
    with caplog.at_level(logging.WARNING, logger="dgaug"):
        assert "query" in read_run_data(run).splits
    assert "other query" not in caplog.text
    later = begun(tmp_path / "later", photos / "some.csv")
    (photos / "some.csv").write_text(HEADER + ROWS + "cleo/1.png,cleo,3,query\n")
    with caplog.at_level(logging.WARNING, logger="dgaug"):
        read_run_data(later)
    assert "other query images" in caplog.text
    assert "cleo/1.png: '1', now '3'" in caplog.text


def test_without_its_list_a_run_still_refuses_other_data(photos: Path, tmp_path: Path) -> None:
    run = begun(tmp_path / "run", photos / "some.csv")
    run.records.unlink()
    assert len(read_run_data(run).splits["train"]) == 3
    (photos / "some.csv").write_text(HEADER + ROWS + "cleo/1.png,cleo,1,train\n")
    with pytest.raises(DgaugError, match=r"records\.csv.*is missing or changed"):
        read_run_data(run)
