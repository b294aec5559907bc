"""`dgaug score-fid` resumes where it was, never gives a stale figure, and ends bad input in one line."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_run import RunCommand, signal_at

from dgaug.files import read_json, write_sealed_json
from dgaug.runs import Run, locked
from dgaug.scores.quality.encoders import INCEPTION_FILE

ENCODER = "test_efficientnet"


@pytest.fixture(autouse=True)
def _no_cached_inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def write_images(folder: Path, *sizes: tuple[int, int]) -> Path:
    """One image of each size (W, H)."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number, (width, height) in enumerate(sizes):
        image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        image.save(folder / f"{number}.png")
    return folder


def test_the_same_command_again_is_already_complete(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    command = ("score-fid", "--run", tiny_run.folder, "--metrics", "frechet,structure", "--out", tmp_path / "out")
    first = dgaug(*command, "--json")
    written = (tmp_path / "out" / "scores.json").stat().st_mtime_ns
    again = dgaug(*command, "--json")
    assert (again.code, again.out) == (0, first.out)
    assert "already complete" in again.err
    assert (tmp_path / "out" / "scores.json").stat().st_mtime_ns == written


def test_other_settings_are_named_and_force_starts_over(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    command = ("score-fid", "--run", tiny_run.folder, "--metrics", "frechet", "--out", tmp_path / "out")
    assert dgaug(*command).code == 0
    refused = dgaug(*command, "--protocol", "published", "--seed", "3").error()
    assert "name: clean -> published; seed: 0 -> 3" in refused
    (statistics,) = {path.name for path in (tmp_path / "out" / "statistics").glob("real-*")}
    assert dgaug(*command, "--protocol", "published", "--force").code == 0
    assert not (tmp_path / "out" / "statistics" / statistics).exists()
    held = json.loads((tmp_path / "out" / "scores.json").read_text(encoding="utf-8"))
    assert held["protocol"]["name"] == "published"


def test_images_that_changed_are_no_longer_those_of_the_figure(tmp_path: Path, dgaug: RunCommand) -> None:
    generated = write_images(tmp_path / "generated", *[(32, 64)] * 8)
    real = write_images(tmp_path / "real", *[(32, 64)] * 8)
    torch.manual_seed(0)
    save_file(timm.create_model(ENCODER, pretrained=False).state_dict(), tmp_path / "tiny.safetensors")
    encoder = f"{ENCODER}={tmp_path / 'tiny.safetensors'}"
    command = ("score-fid", generated, "--real", real, "--metrics", "frechet", "--encoder", encoder)
    command = (*command, "--out", tmp_path / "out")
    same = json.loads(dgaug(*command, "--json").out)["scores"][f"frechet_{ENCODER}"]
    assert same == pytest.approx(0, abs=1e-4)
    before = (generated / "3.png").stat()
    Image.new("RGB", (32, 64), (250, 10, 10)).save(generated / "3.png")
    os.utime(generated / "3.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "generated/contents" in dgaug(*command).error()
    changed = json.loads(dgaug(*command, "--force", "--json").out)["scores"][f"frechet_{ENCODER}"]
    assert changed > same + 1e-3


def test_a_stopped_scoring_resumes(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    out = tmp_path / "out"
    command = ("score-fid", "--run", tiny_run.folder, "--metrics", "frechet,diversity")
    killed = signal_at(out / ".lock", signal.SIGKILL, *command, "--out", out)
    assert killed.code == -signal.SIGKILL
    (out / ".lock").unlink()
    stopped = signal_at(out / ".lock", signal.SIGTERM, *command, "--out", out)
    assert stopped.code == 143, stopped.err
    assert "everything is saved; run the same command again" in stopped.err
    assert not (out / "scores.json").exists()
    done = dgaug(*command, "--out", out, "--json")
    undisturbed = dgaug(*command, "--out", tmp_path / "other", "--json")
    assert (done.code, done.out) == (0, undisturbed.out)


def test_two_writers_do_not_meet(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    with locked(tmp_path / "out", what="scores"):
        refused = dgaug("score-fid", "--run", tiny_run.folder, "--metrics", "diversity", "--out", tmp_path / "out")
        assert "another process is writing the scores" in refused.error()


def three(folder: Path) -> None:
    write_images(folder / "generated", *[(32, 64)] * 3)


def one_image(folder: Path) -> None:
    write_images(folder / "generated", (32, 64))


def one_real(folder: Path) -> None:
    write_images(folder / "generated", *[(32, 64)] * 9)
    write_images(folder / "single", (32, 64))


def two_sizes(folder: Path) -> None:
    write_images(folder / "generated", (32, 64), (32, 64), (48, 64))


def damaged(folder: Path) -> None:
    path = write_images(folder / "generated", *[(32, 64)] * 3) / "1.png"
    path.write_bytes(path.read_bytes()[:-30])


def damaged_real(folder: Path) -> None:
    write_images(folder / "generated", *[(32, 64)] * 4)
    path = folder / "real" / "2.png"
    path.write_bytes(path.read_bytes()[:-30])


def nan_weights(folder: Path) -> None:
    three(folder)
    state = timm.create_model(ENCODER, pretrained=False).state_dict()
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor.fill_(torch.nan)
    save_file(state, folder / "tiny.safetensors")


def other_inception(folder: Path) -> None:
    three(folder)
    cached = folder / "torch" / "hub" / "checkpoints" / INCEPTION_FILE
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"not what the name says")


def other_statistics(folder: Path) -> None:
    three(folder)
    np.savez(folder / "real.npz", mu=np.zeros(7), sigma=np.eye(7))


BAD = [
    (one_image, "real", "frechet", "at least 2 images are needed to compare sets, found 1"),
    (one_real, "single", "frechet", "single: at least 2 images are needed to compare sets, found 1"),
    (two_sizes, "real", "frechet", "of one size, found 64 x 32 (height x width) in 0.png and 64 x 48 in 2.png"),
    (damaged, "real", "frechet", "1.png: damaged image"),
    (damaged_real, "real", "frechet", "2.png: damaged image"),
    (nan_weights, "real", "frechet", "NaN or infinity among the features"),
    (other_inception, "real", "fid", "expected a sha256 that starts with 6726825d"),
    (other_statistics, "real.npz", "frechet", "statistics of 7 numbers from an encoder with unknown weights"),
    (other_statistics, "real.npz", "duplicates", "needs the images of both sides"),
    (three, "real", "precision", "needs at least 6 images on each side, found 3"),
    (two_sizes, "gone", "frechet", "gone"),
    (three, "real", "frechet,structure", "--metrics structure: needs to know the donors"),
]


@pytest.mark.parametrize(("prepare", "real", "metrics", "message"), BAD)
def test_bad_input_is_one_line_and_no_figure(
    tmp_path: Path,
    dgaug: RunCommand,
    *,
    prepare: Callable[[Path], None],
    real: str,
    metrics: str,
    message: str,
) -> None:
    write_images(tmp_path / "real", *[(32, 64)] * 4)
    torch.manual_seed(0)
    save_file(timm.create_model(ENCODER, pretrained=False).state_dict(), tmp_path / "tiny.safetensors")
    prepare(tmp_path)
    encoder = f"{ENCODER}={tmp_path / 'tiny.safetensors'}"
    command = ("score-fid", tmp_path / "generated", "--real", tmp_path / real, "--metrics", metrics)
    assert message in dgaug(*command, "--encoder", encoder, "--out", tmp_path / "out").error()
    assert not (tmp_path / "out" / "scores.json").exists()


@pytest.mark.parametrize(("metrics", "least", "real"), [("precision", 6, 5), ("kernel", 4, 3), ("frechet", 2, 1)])
@pytest.mark.parametrize("small", ["real", "generated"])
def test_the_side_with_too_few_images_is_named_with_its_count(
    tmp_path: Path, dgaug: RunCommand, metrics: str, least: int, real: int, small: str
) -> None:
    for side in ("real", "generated"):
        write_images(tmp_path / side, *[(32, 64)] * (real if side == small else 9))
    save_file(timm.create_model(ENCODER, pretrained=False).state_dict(), tmp_path / "tiny.safetensors")
    command = ("score-fid", tmp_path / "generated", "--real", tmp_path / "real", "--metrics", metrics)
    output = dgaug(
        *command, "--encoder", f"{ENCODER}={tmp_path / 'tiny.safetensors'}", "--out", tmp_path / "out"
    ).error()
    assert f"at least {least} images" in output
    assert f"found {real}" in output
    assert str(tmp_path / small) in output
    assert str(tmp_path / ("generated" if small == "real" else "real")) not in output


def test_results_of_earlier_versions_that_recorded_limits_are_still_complete(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand
) -> None:
    command = ("score-fid", "--run", tiny_run.folder, "--metrics", "frechet", "--out", tmp_path / "out")
    assert dgaug(*command).code == 0
    path = tmp_path / "out" / "scores.json"
    held = read_json(path)
    limits = {"features_kept": 10_000, "kernel_subset": 1000, "looked_at_one_by_one": 256, "judged": 1024}
    held["protocol"] |= limits | {"block": [8, 8]}
    write_sealed_json(path, held)
    again = dgaug(*command)
    assert (again.code, "already complete" in again.err) == (0, True)
