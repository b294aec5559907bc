from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from tiny_run import RunCommand

from dgaug.models.weights import RESNET50_URL, hub_cache
from dgaug.report.doctor import Examination, Finding, examine
from dgaug.runs import Run
from dgaug.scores.quality.encoders import find_inception_weights


@pytest.fixture(autouse=True)
def _empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "huggingface"))


def named(result: Examination, start: str) -> Finding:
    (finding,) = [one for one in (*result.machine, *result.weights, *result.extras) if one.name.startswith(start)]
    return finding


def test_missing_weights_come_with_the_place_and_the_remedy(tmp_path: Path) -> None:
    result = examine()
    for start, remedy in (
        ("FID Inception", "--inception-weights download"),
        ("ResNet-50", "model.weights=download"),
        ("tf_efficientnet_lite0", "--config market1501-cpu"),
    ):
        finding = named(result, start)
        assert not finding.ok
        assert str(tmp_path) in finding.found
        assert remedy in finding.remedy
    assert named(result, "generator of the embedded data").ok


def test_weights_that_are_there_are_found_where_the_commands_look(tmp_path: Path) -> None:
    inception = tmp_path / "hub" / "checkpoints" / "pt_inception-2015-12-05-6726825d.pth"
    timm = tmp_path / "huggingface"
    for file in (
        inception,
        hub_cache(RESNET50_URL),
        timm / "models--timm--tf_efficientnet_lite0.in1k" / "snapshots" / "1" / "model.safetensors",
        timm / "models--timm--vit_tiny.other" / "snapshots" / "1" / "model.safetensors",
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"weights")
    (timm / "models--timm--cut_off.in1k").mkdir()
    result = examine()
    assert [one.name for one in result.weights if not one.ok] == []
    assert find_inception_weights() == inception
    assert str(inception) in named(result, "FID Inception").found
    assert named(result, "vit_tiny.other (timm)").ok
    assert not any("cut_off" in one.name for one in result.weights)


def test_too_little_room_comes_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(examine(), "disk").remedy == ""
    monkeypatch.setattr("dgaug.report.doctor.ENOUGH_DISK", 2**80)
    assert not named(examine(), "disk").ok
    assert "--out" in named(examine(), "disk").remedy


def test_runs_are_listed_with_what_they_have(tiny_run: Run, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "00002-begun").mkdir(parents=True)
    (runs / "00001-tiny").symlink_to(tiny_run.folder)
    first, second = examine(runs).runs
    assert (first.trained, first.store, first.scored) == (True, True, False)
    assert second.folder.endswith("00002-begun")
    assert not second.trained


def test_the_command_ends_with_0_whatever_is_missing(tmp_path: Path, dgaug: RunCommand) -> None:
    (tmp_path / "runs" / "00001-\x1b[31mred").mkdir(parents=True)
    shown = dgaug("doctor", "--runs", tmp_path / "runs")
    assert shown.code == 0
    assert "missing  FID Inception" in shown.out
    assert "\x1b[31mred" not in shown.out
    result = json.loads(dgaug("doctor", "--runs", tmp_path / "runs", "--json").out)
    assert result["versions"]["torch"] == version("torch")
    assert result.keys() == {"versions", "machine", "weights", "extras", "runs"}
