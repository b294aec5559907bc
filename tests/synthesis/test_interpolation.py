"""Interpolation between the codes of two images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_generator
from dgaug.runs import Run
from dgaug.store.read import open_store
from dgaug.synthesis.draw import generate_all, generate_between, interpolate, pixels_of


def donors_of(run: Run) -> list[Path]:
    """Two images of two people."""
    paths = open_store(run.store).sources.path
    return [run.data_root() / paths[row] for row in (1, 14)]


@pytest.mark.parametrize("what", ["appearance", "structure"])
def test_the_ends_are_the_pairs_of_the_two_images(tiny_run: Run, what: str) -> None:
    model = load_generator(tiny_run.checkpoint)
    donors = pixels_of(donors_of(tiny_run), model)
    steps = generate_between(model, donors, [0.0, 0.5, 1.0], what=what)
    assert steps.shape == (2, 3, 64, 32, 3)
    pairs = generate_all(model, donors, donors)
    # The row keeps a donor's structure: its pairs are a column of the grid.
    expected = pairs.transpose(1, 0, 2, 3, 4) if what == "appearance" else pairs
    assert np.abs(steps[:, [0, 2]].astype(int) - expected).max() <= 1


@pytest.mark.parametrize("what", ["appearance", "structure"])
def test_between_them_images_change_step_by_step(tiny_run: Run, what: str) -> None:
    model = load_generator(tiny_run.checkpoint)
    donors = pixels_of(donors_of(tiny_run), model)
    row = generate_between(model, donors, [0.0, 0.25, 0.5, 0.75, 1.0], what=what)[0].astype(float)
    from_first = [np.abs(image - row[0]).mean() for image in row]
    assert from_first == sorted(from_first)
    assert from_first[-1] > 0
    assert np.abs(np.diff(row, axis=0)).mean(axis=(1, 2, 3)).max() < from_first[-1]


def test_a_sheet_shows_all_steps(tiny_run: Run, tmp_path: Path) -> None:
    first, second = donors_of(tiny_run)
    out = interpolate(first, second, run=tiny_run.folder, out=tmp_path / "steps.png")
    with Image.open(out) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 12 * 64
        assert 3 * 128 < sheet.height < 4 * 128


def test_an_animation_goes_there_and_back_for_ever(tiny_run: Run, tmp_path: Path) -> None:
    first, second = donors_of(tiny_run)
    out = interpolate(first, second, run=tiny_run.folder, what="structure", steps=5, out=tmp_path / "poses.gif")
    with Image.open(out) as animation:
        assert (animation.n_frames, animation.info["loop"]) == (8, 0)
        frames = []
        for number in range(8):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("RGB")).astype(int))
    for there, back in ((1, 7), (2, 6), (3, 5)):
        assert np.abs(frames[there] - frames[back]).mean() < 0.1
    assert np.abs(frames[0] - frames[4]).mean() > np.abs(frames[0] - frames[1]).mean()


def test_images_of_any_size_are_taken(tiny_run: Run, tmp_path: Path) -> None:
    Image.new("RGB", (300, 500), "red").save(tmp_path / "red.jpg")
    Image.new("L", (20, 30), 90).save(tmp_path / "grey.png")
    out = tmp_path / "steps.png"
    assert interpolate(tmp_path / "red.jpg", tmp_path / "grey.png", run=tiny_run.folder, steps=2, out=out) == out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"out": "steps.mp4"}, r"\.png \(all steps\) or \.gif"),
        ({"what": "both"}, "appearance, structure"),
        ({"steps": 1}, "at least 2 steps"),
        ({"first": "gone.jpg"}, r"gone\.jpg: damaged image \(no such file\)"),
        ({"first": "notes.jpg"}, r"notes\.jpg: damaged image"),
        ({"out": "notes.jpg"}, "already there"),
        ({"run": "gone"}, "no such run folder"),
    ],
)
def test_wrong_use_is_said_and_nothing_written(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.jpg").write_text("no image", encoding="utf-8")
    first, second = donors_of(tiny_run)
    chosen = {"first": first, "second": second, "run": tiny_run.folder, "out": "steps.png"} | options
    with pytest.raises(DgaugError, match=said):
        interpolate(**chosen)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jpg"]
