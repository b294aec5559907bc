"""What commands print: results on stdout, everything else on stderr, one JSON object for machines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_run import RunCommand, finish_process, start_cold, write_config

from dgaug.presets import preset_names
from dgaug.runs import Run


def only_object(text: str) -> dict[str, Any]:
    """The one JSON object that a text is, from its first to its last character."""
    content = json.loads(text)
    assert isinstance(content, dict)
    return content


def test_the_four_commands_follow_one_another_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    config = write_config(tmp_path / "tiny.yaml", schedule={"iterations": 2}, teacher={"iterations": 4})
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    train = dgaug("train", "--config", config, "--json")
    assert train.code == 0
    assert only_object(train.out)["run"] == "runs/00001-tiny"
    synthesize = only_object(dgaug("synthesize", "--pairs", "all", "--json").out)
    assert synthesize["count"] == synthesize["pairs"] == 24 * 24
    assert synthesize["store"] == "runs/00001-tiny/store"
    scores = only_object(dgaug("score-fid", "--json").out)
    assert scores.keys() == {"protocol", "scores"}
    reid = only_object(dgaug("train-reid", "--json").out)
    assert set(reid["summary"]) == {"augmented", "real only", "real only, as many real"}
    assert only_object(dgaug("synthesize", "--json").out)["already_complete"]
    for name in ("store/dataset.h5", "scores/scores.json", "reid/results.json", "checkpoints/last.pt", "config.yaml"):
        assert (here / "runs" / "00001-tiny" / name).is_file(), name
    assert [path.name for path in here.iterdir()] == ["runs"]


def test_json_is_all_that_a_real_process_prints(tiny_run: Run, tmp_path: Path) -> None:
    command = ("score-fid", "--run", tiny_run.folder, "--metrics", "diversity", "--out", tmp_path, "--json")
    ended = finish_process(start_cold(*command))
    assert ended.code == 0
    assert only_object(ended.out)["scores"].keys() == {"diversity_dssim"}
    assert "reading images" in ended.err


def test_evaluation_prints_tables_or_json(tiny_run: Run, dgaug: RunCommand) -> None:
    command = ("eval-reid", tiny_run.teacher, "--data", tiny_run.data_root())
    result = only_object(dgaug(*command, "--json").out)
    assert result.keys() == {"prim", "protocol"}
    assert result["prim"]["queries"] == 18
    shown = dgaug(*command)
    assert "sum_valid_queries/mAP" in shown.out
    assert "queries: 18" in shown.err


def test_verification_reports_a_whole_store_with_0_and_damage_with_1(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand
) -> None:
    whole = dgaug("verify", tiny_run.store, "--json")
    assert (whole.code, only_object(whole.out)) == (0, {"ok": True, "findings": []})
    shutil.copytree(tiny_run.store, tmp_path / "store")
    shard = tmp_path / "store" / "shards" / "000003.h5"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    damaged = dgaug("verify", tmp_path / "store", "--json")
    assert damaged.code == 1
    assert "000003" in only_object(damaged.out)["findings"][0]["where"]
    assert "000003" in dgaug("verify", tmp_path / "store").err


def test_a_data_check_reports_counts_with_0_and_damage_with_1(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    data = tmp_path / "data"
    shutil.copytree(tiny_run.data_root(), data)
    report = dgaug("data", "check", data, "--json")
    assert report.code == 0
    train = only_object(report.out)["splits"]["train"]
    assert (train["images"], train["identities"], train["cameras"], train["damaged"]) == (24, 6, 3, 0)
    next((data / "bounding_box_train").iterdir()).write_bytes(b"")
    report = dgaug("data", "check", data, "--json")
    assert report.code == 1
    assert only_object(report.out)["splits"]["train"]["damaged"] == 1
    assert "bounding_box_train" in dgaug("data", "check", data).out + dgaug("data", "check", data).err


def test_scores_are_a_table_on_stdout(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    shown = dgaug("score-fid", "--run", tiny_run.folder, "--metrics", "frechet,diversity", "--out", tmp_path)
    assert "frechet_teacher" in shown.out
    assert "diversity_dssim" in shown.out
    assert "not FID" in shown.err


def test_settings_are_shown_whole_and_can_be_used_as_they_are(tmp_path: Path, dgaug: RunCommand) -> None:
    shown = dgaug("config", "show", "toy", "--set", "schedule.iterations=7").out
    (tmp_path / "mine.yaml").write_text(shown, encoding="utf-8")
    assert dgaug("config", "show", tmp_path / "mine.yaml").out == shown
    assert "iterations: 7" in shown


def test_presets_are_listed_with_their_purpose_and_a_command_that_uses_them(dgaug: RunCommand) -> None:
    lines = dgaug("config", "list").out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == preset_names()
    at = lines.index("veri776")
    assert lines[at + 1].startswith("    Vehicles are about as wide as high")
    assert lines[at + 2] == "        dgaug train --data ../VeRi --config veri776"


def test_the_embedded_data_can_be_written_checked_and_packed(tmp_path: Path, dgaug: RunCommand) -> None:
    data = tmp_path / "people"
    assert dgaug("data", "toy", data, "--identities", "3", "--images-per-identity", "2", "--size", "64x32").code == 0
    with Image.open(next((data / "query").iterdir())) as image:
        assert image.size == (32, 64)
    assert dgaug("data", "pack", data).code == 0
    assert only_object(dgaug("data", "check", data / "manifest.csv", "--json").out)["layout"] == "manifest"


def test_grid_and_swap_say_where_the_image_is(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    donors = sorted((tiny_run.data_root() / "query").iterdir())[:2]
    for command in (("grid", "--count", "2"), ("swap", *donors)):
        ended = dgaug(*command, "--run", tiny_run.folder, "--out", tmp_path / "image.png")
        assert ended.code == 0
        assert str(tmp_path / "image.png") in ended.err.replace("\n", "")
        (tmp_path / "image.png").unlink()
