"""What commit b44ef3f wrote is read: a stopped run resumes, stores verify and take further pairs, results are shown.

`old_files.tar.xz` was made by that commit from the tiny settings, trained for two of four iterations; most weights were
then set to zero, so that it is small.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from tiny_run import RunCommand

import dgaug as library
from dgaug.runs import Run

ARCHIVE = Path(__file__).with_name("old_files.tar.xz")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_a_stopped_run_resumes_with_its_own_settings_and_data(old: Path, dgaug: RunCommand) -> None:
    run = Run(old / "run")
    assert torch.load(run.checkpoint, weights_only=True)["iteration"] == 2
    ended = dgaug("train", "--resume", "--out", run.folder)
    assert ended.code == 0, ended.err
    assert torch.load(run.checkpoint, weights_only=True)["iteration"] == 4
    lines = [json.loads(line) for line in run.log.read_text(encoding="utf-8").splitlines()]
    assert [line["iteration"] for line in lines if line["phase"] == "dgnet"] == [0, 1, 2, 3]


@pytest.mark.parametrize(("name", "count"), [("run/store", 40), ("codes", 20), ("parts", 16)])
def test_a_store_verifies_and_gives_its_images_and_labels(old: Path, name: str, count: int) -> None:
    assert library.verify(old / name).findings == []
    store = library.open_store(old / name)
    assert len(store) == count
    item = store[count - 1]
    assert item.image.shape == (64, 32, 3)
    with h5py.File(old / name / "dataset.h5") as plain:
        assert [item.appearance, item.structure] == [
            plain["pair/appearance"][count - 1],
            plain["pair/structure"][count - 1],
        ]
    assert np.isclose(store.dense_label(count - 1).sum(), 1, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "count", "codec"), [("run/store", 40, "jpeg"), ("codes", 20, "codes"), ("parts", 16, "jpeg")]
)
def test_a_store_takes_further_pairs(old: Path, name: str, count: int, codec: str, dgaug: RunCommand) -> None:
    before = [item.image for item in library.open_store(old / name)]
    command = ("synthesize", "--run", old / "run", "--out", old / name, "--codec", codec)
    ended = dgaug(*command, "--pairs", "per-appearance:1", "--add")
    assert ended.code == 0, ended.err
    assert library.verify(old / name).findings == []
    store = library.open_store(old / name)
    assert count < len(store) <= count + 24
    assert all(np.array_equal(mine, store[number].image) for number, mine in enumerate(before))


def test_results_are_shown_and_scores_count_as_complete(old: Path, dgaug: RunCommand) -> None:
    run = old / "run"
    before = (run / "scores" / "scores.json").read_bytes()
    again = dgaug("score-fid", "--run", run, "--metrics", "frechet,structure")
    assert again.code == 0, again.err
    assert "already complete" in again.err
    assert (run / "scores" / "scores.json").read_bytes() == before
    page = library.report_run(run)
    text = page.read_text(encoding="utf-8")
    assert "frechet_teacher" in text
    mean = json.loads((run / "reid" / "results.json").read_text(encoding="utf-8"))["runs"][0]["ranking"]
    assert f"{100 * mean['both']['sum_valid_queries/R1']:.1f}" in text
