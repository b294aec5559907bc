"""Every long command, stopped at any moment by any signal: the same command again ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from forked import ended, started
from ledger import times, tried
from tiny_run import assert_same_checkpoint, write_config

from dgaug.files import read_json
from dgaug.runs import Run
from dgaug.store.verify import verify

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOST = 3
"""Times that one piece of work is stopped before it may end."""
COMMANDS = ("train", "synthesize", "synthesize codes", "score-fid", "train-reid", "export")


def arguments(command: str, run: Run, config: Path, out: Path) -> tuple[str, ...]:
    folder = str(run.folder)
    return {
        "train": ("train", "--config", str(config), "--out", str(out)),
        "synthesize": ("synthesize", "--run", folder, "--shard-size", "32", "--out", str(out)),
        "synthesize codes": (
            "synthesize",
            "--run",
            folder,
            "--codec",
            "codes",
            "--out",
            str(out),
        ),
        "score-fid": ("score-fid", "--run", folder, "--metrics", "frechet,ssim", "--out", str(out)),
        "train-reid": ("train-reid", "--run", folder, "--out", str(out)),
        "export": ("export", str(run.store), "--to", "folders", "--out", str(out)),
        "ablate": ("ablate", "--config", str(config), "--images-per-identity", "2", "--out", str(out)),
    }[command]


def result(command: str, out: Path) -> Any:
    """What a command left, as far as it may not depend on how it got there."""
    if command == "train":
        return [json.loads(line) for line in Run(out).log.open(encoding="utf-8")]
    if command in ("score-fid", "train-reid", "ablate"):
        return read_json(out / ("scores.json" if command == "score-fid" else "results.json"))
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize("command", [*COMMANDS, pytest.param("ablate", marks=pytest.mark.hostile)])
def test_a_command_stopped_at_any_moment_ends_the_same(tmp_path: Path, tiny_run: Run, command: str) -> None:
    short = {"teacher": {"iterations": 3}, "schedule": {"iterations": 2}, "reid": {"iterations": 2}}
    config = write_config(tmp_path / "tiny.yaml", **(short if command == "ablate" else {}))
    log, reference = tmp_path / "log", tmp_path / "undisturbed"
    began = time.monotonic()
    assert ended(started(arguments(command, tiny_run, config, reference), log)) == 0, log.read_text()
    lasts = time.monotonic() - began
    expected = result(command, reference)
    chance = random.Random(command)
    left = times(2 if command.startswith("synthesize") else 1, 10 if command == "ablate" else 60)
    while left > 0:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        asked, stops = arguments(command, tiny_run, config, out), []
        for _ in range(min(left, chance.randint(1, MOST))):
            number = chance.choice(SIGNALS)
            child = started(asked, log)
            moment = chance.uniform(0, lasts)
            time.sleep(moment)
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                os.kill(child, number)
                stops.append(signal.Signals(number).name)
            elif not stops:
                lasts = moment  # the first time took longer; a command that has ended is no trial
            code = ended(child)
            assert code in (0, -number, 128 + number), (code, log.read_text())
        code = ended(started(asked, log))
        assert code == 0, log.read_text()
        assert "Traceback" not in log.read_text()
        assert result(command, out) == expected
        assert not list(out.rglob("*.part*"))
        if command == "train":
            assert_same_checkpoint(Run(out).checkpoint, tiny_run.checkpoint)
            assert_same_checkpoint(Run(out).teacher, tiny_run.teacher)
        if command.startswith("synthesize"):
            assert verify(out).ok
        left -= len(stops)
        for name in stops:
            tried(f"stopped at a random moment: {command}", f"{name}, ended the same")


def test_two_processes_in_one_folder_do_not_meet(tmp_path: Path, tiny_run: Run) -> None:
    config = write_config(tmp_path / "tiny.yaml")
    for command in ("synthesize", "train", "train-reid")[: times(1, 3)]:
        expected = None
        for _ in range(times(1, 10)):
            out = tmp_path / "out"
            shutil.rmtree(out, ignore_errors=True)
            asked = arguments(command, tiny_run, config, out)
            logs = [tmp_path / "log0", tmp_path / "log1"]
            for log in logs:
                log.unlink(missing_ok=True)
            codes = [ended(child) for child in [started(asked, log) for log in logs]]
            assert sorted(codes) in ([0, 0], [0, 2]), [log.read_text() for log in logs]
            assert not any("Traceback" in log.read_text() for log in logs)
            expected = expected or result(command, out)
            assert result(command, out) == expected
            tried("two processes in one folder", "one works, the other is told or finds it done")
