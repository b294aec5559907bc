"""A machine that is full, read-only, out of memory or out of time: said in one line, and nothing is lost."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from forked import ended, forked, started
from ledger import FULL, times, tried
from tiny_run import RunCommand, assert_same_checkpoint, write_config

from dgaug.models import checkpoints
from dgaug.runs import Run
from dgaug.store.verify import verify


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def error_of(log: Path) -> str:
    """The one line in which a command ended."""
    lines = log.read_text(encoding="utf-8").splitlines()
    assert not any("Traceback" in line for line in lines), "\n".join(lines)
    assert lines[-1].startswith("error: "), "\n".join(lines)
    assert sum(line.startswith("error: ") for line in lines) == 1
    return lines[-1]


def no_larger_file_than(size: int) -> Callable[[], None]:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def commands(run: Run, config: Path, out: Path) -> dict[str, tuple[str, ...]]:
    folder = str(run.folder)
    return {
        "train": ("train", "--config", str(config), "--out", str(out)),
        "synthesize": ("synthesize", "--run", folder, "--shard-size", "96", "--out", str(out)),
        "export": ("export", str(run.store), "--to", "webdataset", "--out", str(out)),
        "score-fid": ("score-fid", "--run", folder, "--metrics", "frechet", "--out", str(out)),
        "train-reid": ("train-reid", "--run", folder, "--out", str(out)),
        "data toy": ("data", "toy", str(out), "--identities", "4", "--images-per-identity", "2"),
        "data pack": ("data", "pack", str(run.folder / "data"), "--out", str(run.folder / "data" / "x.csv"), "--force"),
        "report": ("report", folder, "--out", str(out / "page.html"), "--force"),
    }


SHORT = ["synthesize", "export", "data toy"]
LONG = ["train", "score-fid", "train-reid", "data pack", "report"]


@pytest.mark.parametrize("command", [*SHORT, *(pytest.param(name, marks=pytest.mark.hostile) for name in LONG)])
def test_a_file_that_grows_too_large_for_the_disk_is_one_line_and_the_work_resumes(
    tmp_path: Path, tiny_run: Run, command: str
) -> None:
    """A limit on the size of a file, where a write fails in its middle as on a full disk."""
    run = Run(tmp_path / "run")
    shutil.copytree(tiny_run.folder, run.folder)
    config, log, out = write_config(tmp_path / "tiny.yaml"), tmp_path / "log", tmp_path / "out"
    asked = commands(run, config, out)[command]
    chance, about = random.Random(command), (0, 100, 4096, 20_000, 100_000, 500_000)
    sizes = [chance.choice(about) + chance.randrange(4096) for _ in range(times(2, 25))]
    for size in sizes:
        log.unlink(missing_ok=True)
        code = ended(started(asked, log, first=no_larger_file_than(size)))
        if code == 0:
            tried(f"disk full at a random byte: {command}", "it was enough")
            shutil.rmtree(out, ignore_errors=True)
            continue
        assert code == 2, log.read_text(encoding="utf-8")
        if log.stat().st_size < size:  # else its words had no room either
            error_of(log)
        left = [path for path in out.rglob("*") if ".part" in path.name and path.suffix in (".h5", ".tar")]
        assert left == []
        said = "one line" if log.stat().st_size < size else "no room for its line, exit code 2"
        tried(f"disk full at a random byte: {command}", f"{said}, then ended the same")
    log.unlink(missing_ok=True)
    assert ended(started(asked, log)) == 0, log.read_text(encoding="utf-8")
    if command == "train":
        assert_same_checkpoint(Run(out).checkpoint, tiny_run.checkpoint)
    if command == "synthesize":
        assert verify(out).ok
        assert files_of(out) == files_of(tiny_run.store)
    assert not list(tmp_path.rglob("*.part"))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system; skipped where that is not permitted."""
    made: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"mount{len(made)}"
        place.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True).returncode:
            pytest.skip("mounting is not permitted here")
        made.append(place)
        return place

    yield mount
    for place in made:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.hostile
@pytest.mark.parametrize("command", [*SHORT, *LONG])
def test_a_full_disk_is_one_line_and_the_work_resumes_when_there_is_room(
    tmp_path: Path, tiny_run: Run, mounted: Callable[[str], Path], command: str
) -> None:
    config, log = write_config(tmp_path / "tiny.yaml"), tmp_path / "log"
    for size in ("16k", "64k", "256k", "1m", "2m"):
        place = mounted(f"size={size}")
        out = place / "out"
        asked = commands(tiny_run, config, out)[command]
        log.unlink(missing_ok=True)
        code = ended(started((*asked, "--yes") if command == "synthesize" else asked, log))
        assert code in (0, 2), log.read_text(encoding="utf-8")
        if code:
            error_of(log)
        tried("disk full: a small file system", "one line" if code else "it was enough")
        subprocess.run(["mount", "-o", "remount,size=200m", place], check=True)
        log.unlink(missing_ok=True)
        assert ended(started(asked, log)) == 0, log.read_text(encoding="utf-8")
        if command == "synthesize":
            assert files_of(out) == files_of(tiny_run.store)


@pytest.mark.hostile
@pytest.mark.parametrize("command", [*SHORT, *LONG])
def test_a_read_only_disk_is_one_line(
    tmp_path: Path, tiny_run: Run, mounted: Callable[[str], Path], command: str
) -> None:
    place = mounted("size=300m")
    run = Run(place / "run")
    shutil.copytree(tiny_run.folder, run.folder)
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    log = tmp_path / "log"
    asked = commands(run, write_config(tmp_path / "tiny.yaml"), place / "out")[command]
    assert ended(started(asked, log)) == 2, log.read_text(encoding="utf-8")
    assert "Read-only" in error_of(log) or command == "data pack"
    tried("read-only file system", "one line")


@pytest.mark.parametrize("command", ["train", "synthesize", "export", "score-fid", "data toy", "report"])
def test_a_file_where_a_folder_should_be_is_one_line(
    tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand, command: str
) -> None:
    (tmp_path / "file").write_text("years of work", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        if command == "report" and out.name == "file":
            continue
        refused_or_done(*commands(tiny_run, write_config(tmp_path / "tiny.yaml"), out)[command]).error()
        tried("a file where a folder should be", "refused")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize("setting", ["schedule.batch_size=16384", "teacher.batch_size=131072"][: times(1, 2)])
def test_a_batch_that_no_memory_holds_is_one_line(tmp_path: Path, setting: str) -> None:
    def little_memory() -> None:
        held = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (held + (1 << 30), held + (1 << 30)))

    log, config = tmp_path / "log", write_config(tmp_path / "tiny.yaml", teacher={"iterations": 1})
    asked = ("train", "--config", str(config), "--set", setting, "--out", str(tmp_path / "run"))
    assert ended(started(asked, log, first=little_memory)) == 2, log.read_text(encoding="utf-8")
    assert "not enough memory" in error_of(log)
    tried("no memory for the chosen batch", "one line")


def test_no_decision_rests_on_a_clock(tmp_path: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(tiny_run.folder, run.folder)
    chance = random.Random(0)
    for _ in range(times(2, 20)):
        for path in run.folder.rglob("*"):
            moment = chance.choice((0, 1, time.time() - 1e9, time.time() + 1e9))
            os.utime(path, (moment, moment))
        before = files_of(run.folder)
        for asked in (("train", "--resume", "--out"), ("synthesize", "--shard-size", "96", "--run")):
            ended_so = dgaug(*asked, run.folder)
            assert ended_so.code == 0
            assert "already complete" in ended_so.err
        after = files_of(run.folder)
        assert after == before
        tried("clock: files from the past and the future", "the same answer")


def test_a_clock_that_jumps_changes_no_bit(tmp_path: Path, tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)
    monkeypatch.setattr("time.time", lambda: chance.choice((0.0, 1.0, 4e9)))
    log = tmp_path / "log"
    for command in ("synthesize", "train")[: times(1, 2)]:
        out = tmp_path / command
        asked = commands(tiny_run, write_config(tmp_path / "tiny.yaml"), out)[command]
        assert ended(started(asked, log)) == 0, log.read_text(encoding="utf-8")
        tried("clock: jumps back and forth while it works", "the same bits")
    assert files_of(tmp_path / "synthesize") == files_of(tiny_run.store)
    if FULL:
        assert_same_checkpoint(Run(tmp_path / "train").checkpoint, tiny_run.checkpoint)


def test_a_run_that_moves_between_commands_is_the_same_run(
    tmp_path: Path, tiny_run: Run, dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "other" / "there"
    shutil.copytree(tiny_run.folder, here, ignore=shutil.ignore_patterns("store"))
    there.parent.mkdir()
    here.rename(there)
    monkeypatch.chdir(there.parent)
    assert dgaug("synthesize", "--run", "there", "--shard-size", "96").code == 0
    assert files_of(there / "store") == files_of(tiny_run.store)
    there.rename(here)
    assert dgaug("train", "--resume", "--out", here).code == 0
    assert dgaug("verify", here / "store").code == 0
    assert dgaug("score-fid", "--run", here, "--metrics", "frechet").code == 0
    here.rename(there)
    assert "already complete" in dgaug("score-fid", "--run", there, "--metrics", "frechet").err
    assert dgaug("export", there / "store", "--to", "csv", "--out", tmp_path / "csv").code == 0
    tried("a run's folder moved between commands", "resumes")


@pytest.mark.parametrize("size", [0, 100, 5_000, 100_000])
def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(tmp_path: Path, size: int) -> None:
    path = tmp_path / "last.pt"
    checkpoints.save(path, {"step": 1})
    before = path.read_bytes()

    def save() -> None:
        no_larger_file_than(size)()
        checkpoints.save(path, {"step": 2, "weights": torch.ones(10, 10_000)})

    error = forked(save, allowed=(OSError,))
    assert isinstance(error, OSError)
    assert str(path) in str(error)
    assert files_of(tmp_path) == {"last.pt": before}
    tried("disk full inside a checkpoint", "the one before is whole")
