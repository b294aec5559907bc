"""16-bit images by the range of their data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import RunCommand, write_config

from dgaug.data.check import check_data
from dgaug.data.depth import FULL, find_levels, levels_of, to_eight_bits
from dgaug.data.images import open_image
from dgaug.data.layouts import open_data
from dgaug.data.prepare import read_data
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_generator
from dgaug.runs import Run
from dgaug.settings import DataSettings, load_settings
from dgaug.synthesis.draw import pixels_of
from dgaug.training.train import train


@pytest.fixture
def thermal(tmp_path: Path) -> Path:
    """Eight 16-bit images of two identities in a band of 400 levels; the gallery has the hotter half of it."""
    rows = np.arange(64)[:, None] * 3 + np.arange(32)[None, :] % 8
    for split, first in (("train", 29000), ("gallery", 29200)):
        for name in ("anna", "bert"):
            for k in range(2):
                file = tmp_path / "thermal" / split / name / f"{k}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray((first + np.roll(rows, k + len(name), axis=0)).astype(np.uint16)).save(file)
    return tmp_path / "thermal"


def levels_seen(data_root: Path) -> int:
    return len(np.unique(np.asarray(open_image(data_root / "train/anna/0.png"))))


def test_the_range_of_all_splits_becomes_black_to_white(thermal: Path) -> None:
    assert levels_seen(thermal) < 4, "as one file among all 16 bits"
    data = read_data(thermal, DataSettings())
    assert data.levels is not None
    assert data.levels[0] == pytest.approx(29000, abs=5)
    assert data.levels[1] == pytest.approx(29396, abs=5)
    assert any("becomes black" in note for note in data.notes)
    assert levels_of(thermal / "train/anna/0.png") == data.levels
    assert levels_seen(thermal) > 100
    assert check_data(data).problems == check_data(read_data(thermal, DataSettings())).problems
    assert not any("contrast" in problem for problem in check_data(data).problems)
    full = read_data(thermal, DataSettings(depth="full"))
    assert (full.levels, levels_seen(thermal) < 4) == (None, True)
    assert any("almost no contrast" in problem for problem in check_data(full).problems)


def test_dead_and_hot_pixels_do_not_take_the_range(thermal: Path) -> None:
    values = np.asarray(Image.open(thermal / "train/anna/0.png")).copy()
    values[0, 0], values[5, 5] = 0, 65535
    Image.fromarray(values).save(thermal / "train/anna/0.png")
    low, high = find_levels(open_data(thermal)) or FULL
    assert 28990 < low < high < 29410


def test_images_of_eight_bits_have_no_levels(market: Path, thermal: Path) -> None:
    assert find_levels(open_data(market)) is None
    for file in thermal.rglob("*.png"):
        Image.fromarray(np.full((8, 4), 5, np.uint16)).save(file)
    assert find_levels(open_data(thermal)) is None, "one level only"


def test_a_damaged_image_is_left_to_those_who_decode_it(thermal: Path) -> None:
    (thermal / "train/anna/1.png").write_bytes(b"x")
    assert find_levels(open_data(thermal)) is not None


def test_a_mistake_of_ours_is_not_taken_for_damage(thermal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistaken(*_: object, **__: object) -> None:
        raise AttributeError("no such name")

    data = open_data(thermal)
    monkeypatch.setattr("dgaug.data.depth.Image.open", mistaken)
    with pytest.raises(AttributeError):
        find_levels(data)


def test_levels_are_rounded_and_clipped() -> None:
    values = np.array([0, 999, 1000, 1001, 1255, 1510, 1511, 65535])
    assert to_eight_bits(values, (1000, 1510)).tolist() == [0, 0, 0, 1, 128, 255, 255, 255]
    old = ((np.arange(65536) + 128) // 257).astype(np.uint8)
    assert (to_eight_bits(np.arange(65536), FULL) == old).all(), "as b44ef3f had it"


@pytest.mark.parametrize("depth", ["half", [5, 5], [9, 3], [0, 70000]])
def test_a_depth_that_means_nothing_is_refused(depth: object) -> None:
    with pytest.raises(DgaugError, match=r"data\.depth"):
        load_settings(flags={"data.depth": depth})


def test_a_run_records_its_levels_and_every_command_uses_them(thermal: Path, tmp_path: Path, dgaug: RunCommand) -> None:
    config = write_config(tmp_path / "c.yaml", teacher={"iterations": 1}, schedule={"iterations": 1})
    run = train(thermal, config, out=tmp_path / "run")
    depth = run.settings().data.depth
    assert depth == read_data(thermal, DataSettings()).levels
    read_data(thermal, DataSettings(depth="full"))
    model = load_generator(run.checkpoint)
    assert len(np.unique(pixels_of([thermal / "train/anna/0.png"], model))) > 100, "swap, grid"
    read_data(thermal, DataSettings(depth="full"))
    assert dgaug("synthesize", "--run", run.folder, "--pairs", "random:2").code == 0
    assert levels_of(thermal / "train/x") == depth
    assert "already complete" in dgaug("train", "--resume", "--out", run.folder).err
    again = dgaug("train", "--data", thermal, "--config", config, "--out", run.folder)
    assert "already complete" in again.err
    refused = dgaug("train", "--data", thermal, "--config", config, "--out", run.folder, "--depth", "full").error()
    assert "other settings (data.depth: " in refused


def test_a_run_begun_before_depth_was_known_keeps_all_sixteen_bits(
    thermal: Path, tmp_path: Path, dgaug: RunCommand
) -> None:
    config = write_config(tmp_path / "c.yaml", teacher={"iterations": 1}, schedule={"iterations": 1})
    run = train(thermal, config, out=tmp_path / "run", depth="full")
    assert run.settings().data.depth == "full"
    text = run.config.read_text().replace("  depth: full\n", "")
    run.config.write_text(text)
    path = run.folder / "environment.json"
    content = json.loads(path.read_text())
    del content["data"]["records"]
    path.write_text(json.dumps(content))
    (run.folder / "checkpoints/last.pt").unlink()
    for command in (("synthesize", "--run", run.folder), ("train", "--resume", "--out", run.folder)):
        read_data(thermal, DataSettings())
        dgaug(*command)
        if command[0] == "train":
            assert levels_of(thermal / "train/x") == FULL
    assert Run(run.folder).settings().data.depth == "auto"
    assert run.checkpoint.is_file()
    read_data(thermal, DataSettings())
    assert dgaug("synthesize", "--run", run.folder, "--pairs", "random:2").code == 0
    assert levels_of(thermal / "train/x") == FULL


def test_data_check_and_eval_reid_take_the_depth(thermal: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    assert "becomes black" in dgaug("data", "check", thermal).err
    assert "almost no contrast" in dgaug("data", "check", thermal, "--depth", "full").err
    shutil.copytree(thermal / "gallery", thermal / "query")
    command = ("eval-reid", tiny_run.teacher, "--data", thermal)
    assert "becomes black" in dgaug(*command).err
    assert "becomes black" not in dgaug(*command, "--depth", "full").err
