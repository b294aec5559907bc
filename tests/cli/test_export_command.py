"""`dgaug export`, `interpolate`, `grid` and `swap` as commands."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from unittest.mock import Mock

import pytest
from PIL import Image
from tiny_run import IMAGES, RunCommand, signal_at

from dgaug.data.layouts import open_data
from dgaug.runs import Run
from dgaug.store.codecs import encode
from dgaug.store.export import export_store
from dgaug.store.export_rows import QUALITY
from dgaug.store.read import open_store
from dgaug.synthesis import draw
from dgaug.synthesis.job import synthesize


@pytest.fixture(scope="module")
def raw_store(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose images an export must encode, which takes a moment."""
    path = tmp_path_factory.mktemp("raw") / "store"
    synthesize(tiny_run.folder, codec="raw", out=path)
    return path


def test_an_export_is_a_data_set_for_data_check(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    command = ("export", tiny_run.store, "--to", "folders", "--out", tmp_path / "out", "--json")
    output = json.loads(dgaug(*command).out)
    assert (output["pictures"], output["labels"], output["already_complete"]) == (IMAGES**2, "soft", False)
    checked = dgaug("data", "check", tmp_path / "out", "--json")
    assert checked.code == 0
    report = json.loads(checked.out)
    assert report["layout"] == "market1501"
    train = report["splits"]["train"]
    assert (train["images"], train["identities"], train["cameras"], train["damaged"]) == (IMAGES**2, 6, 3, 0)
    assert json.loads(dgaug(*command).out)["already_complete"]


def test_a_store_of_codes_is_exported_as_the_images_it_draws(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    synthesize(tiny_run.folder, pairs="random:50", codec="codes", out=tmp_path / "store")
    assert dgaug("export", tmp_path / "store", "--to", "folders", "--out", tmp_path / "out").code == 0
    drawn, records = open_store(tmp_path / "store"), open_data(tmp_path / "out").splits["train"]
    assert len(records) == 50
    for record in records:
        image = drawn[int(record.path.split("_")[-2])].image
        expected = encode(image, codec="jpeg", quality=QUALITY)
        assert (tmp_path / "out" / record.path).read_bytes() == expected


def test_a_killed_export_resumes_to_the_same_bytes(raw_store: Path, tmp_path: Path, dgaug: RunCommand) -> None:
    out = tmp_path / "out"
    command = ("export", raw_store, "--to", "folders", "--out", out)
    assert signal_at(out / "bounding_box_train.part", signal.SIGKILL, *command).code == -signal.SIGKILL
    assert not (out / "bounding_box_train").exists()
    assert dgaug("export", raw_store, "--to", "folders", "--out", out).code == 0
    export_store(raw_store, to="folders", out=tmp_path / "undisturbed")
    result, expected = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (out, tmp_path / "undisturbed")
    )
    assert result == expected


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_ends_with_its_signal_and_resumes(
    raw_store: Path, tmp_path: Path, dgaug: RunCommand, number: int
) -> None:
    out = tmp_path / "out"
    command = ("export", raw_store, "--to", "webdataset", "--shard-size", "100", "--out", out)
    ended = signal_at(out / ".000000.tar.part.tar", number, *command)
    assert ended.code == 128 + number
    assert ended.err.strip().splitlines()[-1].startswith(f"interrupted by signal {number}")
    assert dgaug("export", raw_store, "--to", "webdataset", "--shard-size", "100", "--out", out).code == 0
    assert len(list(out.glob("*.tar"))) == 6


def test_a_csv_counts_pairs(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    ended = dgaug("export", tiny_run.store, "--to", "csv", "--out", tmp_path / "out", "--limit", "10")
    assert ended.err.strip().splitlines()[-1].startswith("10 pairs in")
    assert len((tmp_path / "out" / "labels.csv").read_text(encoding="utf-8").splitlines()) == 11


@pytest.mark.parametrize("tool", ["market", "oml", "csv"])
def test_a_killed_mixed_export_has_no_name_and_resumes(
    raw_store: Path, tiny_run: Run, tmp_path: Path, dgaug: RunCommand, tool: str
) -> None:
    out, data = tmp_path / "out", tiny_run.data_root()
    command = ("export", raw_store, "--with", data, "--for", tool, "--ratio", "1000", "--out", out)
    there = tmp_path / "out.part" / ("query" if tool == "market" else "real")
    assert signal_at(there, signal.SIGKILL, *command).code == -signal.SIGKILL
    assert not out.exists()
    made = json.loads(dgaug(*command, "--json").out)
    assert (made["tool"], made["generated"], made["already_complete"]) == (tool, IMAGES**2, False)
    assert not (tmp_path / "out.part").exists()
    checked = json.loads(dgaug("data", "check", out, "--json").out)
    assert checked["splits"]["train"]["images"] == IMAGES + IMAGES**2
    assert checked["splits"]["train"]["damaged"] == 0
    assert json.loads(dgaug(*command, "--json").out)["already_complete"]


def test_images_that_were_replaced_since_the_run_are_refused(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    shutil.copytree(tiny_run.data_root(), tmp_path / "data")
    command = ("export", tiny_run.store, "--with", tmp_path / "data", "--for", "csv", "--out", tmp_path / "out")
    assert dgaug(*command).code == 0
    Image.new("RGB", (32, 64), "red").save(next((tmp_path / "data" / "bounding_box_train").iterdir()))
    assert "names or file sizes differ; give the images of that run" in dgaug(*command, "--force").error()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("export {store} --for market --out out", "--for market needs --with DATA"),
        ("export {store} --for market --to csv --with {data} --out out", "give one of the two"),
        ("export {store} --for huggingface --out out", "--for huggingface needs --license TEXT"),
        ("export {store} --for csv --license mit --with {data} --out out", "--license is of --for huggingface"),
        (
            "export {store} --for csv --shard-size 5 --with {data} --out out",
            "--shard-size has no effect with --for csv",
        ),
        ("export {store} --for lmdb --with {data} --out out", "'lmdb' is not one of"),
        ("export {store} --for market --with {data} --labels soft --out out", "or --for csv"),
        ("export {store} --for market --with {data} --limit 3 --out out", "--limit has no effect with --for market"),
        ("export {store} --for csv --with {data} --flip --out out", "--flip has no effect with --for csv"),
        ("export {store} --for csv --with gone --out out", "gone: no such folder"),
        ("export {store} --for csv --with {data} --ratio 0 --out out", "0.0 is not in the range"),
        ("export {store} --to csv --with {data} --out out", "--with has no effect with --to csv"),
        ("export {store} --to csv --ratio 2 --out out", "--ratio has no effect with --to csv"),
        ("export gone --to csv --out out", "found none in gone"),
        ("export {store} --out out", "Missing option '--to'"),
        ("export {store} --to csv", "Missing option '--out'"),
        ("export {store} --to lmdb --out out", "'lmdb' is not one of"),
        ("export {store} --to csv --out .", ". is not an export folder: it holds a.png"),
        ("export {store} --to csv --out a.png", "a.png is a file; --out names"),
        ("export {store} --to csv --labels hard --out out", "unknown label policy 'hard'"),
        ("export {store} --to csv --identity new --out out", "--to folders"),
        ("interpolate a.png", "Missing argument 'SECOND'"),
        ("interpolate a.png gone.png --run {run}", "gone.png: damaged image (no such file)"),
        ("interpolate a.png a.png --run {run} --out a.png", "a.png is already there"),
        ("interpolate a.png a.png --run {run} --steps 1", "1 is not in the range"),
        ("grid --run {run} --appearance gone.png --count 2 --out out.png", "gone.png: damaged image (no such file)"),
        ("grid --run {run} --out a.png", "a.png is already there"),
        ("swap a.png a.png --run {run} --out a.png", "a.png is already there"),
    ],
)
def test_wrong_use_is_one_line_and_makes_nothing(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand, command: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (32, 64), "red").save("a.png")
    assert (
        said
        in dgaug(*command.format(store=tiny_run.store, run=tiny_run.folder, data=tiny_run.data_root()).split()).error()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_images_of_anybody_are_drawn_and_named_for_machines(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, colour in (("anna.png", "red"), ("ben.png", "blue")):
        Image.new("RGB", (50, 120), colour).save(name)
    donors = ("--appearance", "anna.png", "--appearance", "ben.png", "--structure", "ben.png")
    drawn = json.loads(dgaug("grid", "--run", tiny_run.folder, *donors, "--out", "grid.png", "--json").out)
    assert drawn == {"picture": "grid.png", "appearances": ["anna.png", "ben.png"], "structures": ["ben.png"]}
    swapped = json.loads(dgaug("swap", "anna.png", "ben.png", "--run", tiny_run.folder, "--json").out)
    assert swapped == {"picture": "swap.png", "appearance": "anna.png", "structure": "ben.png"}
    between = json.loads(dgaug("interpolate", "anna.png", "ben.png", "--run", tiny_run.folder, "--json").out)
    assert between["picture"] == "interpolation.png"
    assert all(Path(made["picture"]).is_file() for made in (drawn, swapped, between))
    assert dgaug("swap", "anna.png", "ben.png", "--run", tiny_run.folder).code == 2
    assert dgaug("swap", "anna.png", "ben.png", "--run", tiny_run.folder, "--force").code == 0


def test_a_grid_is_that_of_one_run_whatever_is_begun_meanwhile(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    result = Mock(side_effect=[tiny_run, Run(tmp_path / "begun-meanwhile")])
    monkeypatch.setattr(draw, "find_run", result)
    ended = dgaug("grid", "--count", "2", "--out", tmp_path / "grid.png")
    assert (ended.code, result.call_count) == (0, 1), ended.err


def test_the_donors_of_a_grid_are_readable_as_data(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    out = tmp_path / "grid.png"
    drawn = json.loads(dgaug("grid", "--run", tiny_run.folder, "--count", "3", "--out", out, "--json").out)
    known = {str(tiny_run.data_root() / record.path) for record in open_data(tiny_run.data_root()).splits["train"]}
    assert len(drawn["appearances"]) == 3
    assert set(drawn["appearances"]) <= known
