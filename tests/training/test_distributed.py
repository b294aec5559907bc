"""Several processes, or several micro-batches, train like one process on the whole batch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from held import Hold
from one_step import one_step, save_one_step
from tiny_run import Ended, assert_same_checkpoint, finish_process, finish_ranks, wait_until_held, write_config
from warm_processes import run_command, start_ranks

from dgaug.distributed import Processes
from dgaug.runs import Run

EXACT = 1e-5
BATCH_NORM = 0.2
"""How far a term may move when each process has batch statistics of its own (docs/training.md)."""


def run_as(count: int, *arguments: str | Path) -> Ended:
    """A `dgaug` command in so many processes, to their end."""
    return finish_ranks(start_ranks(run_command, *map(str, arguments), count=count))


def start_torchrun(*arguments: str | Path, count: int = 2, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.Popen(
        [*command, "-m", "dgaug", *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    """The iteration of one process."""
    return one_step(Processes(torch.device("cpu")), 1)


def assert_same_step(result: Mapping[str, Any], alone: Mapping[str, Any]) -> None:
    assert result["terms"] == pytest.approx(alone["terms"], rel=EXACT)
    assert result["gradients"].keys() == alone["gradients"].keys()
    largest = max(float(gradient.norm()) for gradient in alone["gradients"].values())
    compared = 0
    for name, wanted in alone["gradients"].items():
        if name.endswith("bias") and wanted.norm() < 1e-8 * largest:
            continue  # a normalisation cancels it: only rounding noise
        assert (result["gradients"][name] - wanted).norm() <= EXACT * wanted.norm(), name
        compared += 1
    assert compared > 0.7 * len(alone["gradients"])


def test_two_processes_have_the_losses_and_gradients_of_one(tmp_path: Path, alone: dict[str, Any]) -> None:
    out = tmp_path / "step.pt"
    ended = finish_ranks(start_ranks(save_one_step, str(out)))
    assert ended.code == 0, ended.err
    assert_same_step(torch.load(out, weights_only=True), alone)


def test_micro_batches_have_the_losses_and_gradients_of_the_whole(alone: dict[str, Any]) -> None:
    assert_same_step(one_step(Processes(torch.device("cpu")), 2), alone)


@pytest.mark.parametrize(("statistics", "tolerance"), [("frozen", 1e-4), ("batch", BATCH_NORM)])
def test_two_processes_make_the_run_of_one(tmp_path: Path, tiny_run: Run, statistics: str, tolerance: float) -> None:
    config = write_config(
        tmp_path / "two.yaml",
        model={"prim_dropout": 0, "fine_dropout": 0},
        behaviour={"appearance_statistics": statistics},
        schedule={"batch_size": 8, "iterations": 4},
    )
    runs = []
    for count in (1, 2):
        run = Run(tmp_path / str(count))
        ended = run_as(count, "train", "--config", config, "--out", run.folder, "--teacher", tiny_run.teacher)
        assert ended.code == 0, ended.err
        runs.append(run)
    one, two = (lines_of(run) for run in runs)
    assert [line["iteration"] for line in two] == [line["iteration"] for line in one] == [0, 1, 2, 3]
    for mine, theirs in zip(two, one, strict=True):
        assert mine["terms"] == pytest.approx(theirs["terms"], rel=tolerance, abs=1e-6), mine
    assert [path.name for path in runs[1].samples.iterdir()] == ["00000004.png"]
    assert ended.err.count("dgaug synthesize") == 1, "only one process talks"


def test_processes_that_are_stopped_and_killed_resume_to_the_same_bits(tmp_path: Path, tiny_run: Run) -> None:
    config = write_config(tmp_path / "two.yaml", schedule={"batch_size": 4})
    runs = [Run(tmp_path / name) for name in ("undisturbed", "disturbed")]
    commands = [("train", "--config", config, "--teacher", tiny_run.teacher, "--out", run.folder) for run in runs]
    assert run_as(2, *commands[0]).code == 0
    kept = [runs[1].checkpoint.with_name(f"{iteration:08d}.pt") for iteration in range(9)]
    first = Hold(kept[2])
    stopped = start_torchrun(*commands[1], **first.environment)
    wait_until_held(first, stopped)
    stopped.send_signal(signal.SIGTERM)
    ended = finish_process(stopped)
    assert ended.code != 0
    assert "saved" in ended.err
    before = torch.load(runs[1].checkpoint, weights_only=True)["iteration"]
    assert 2 <= before < 5
    second = Hold(kept[before + 1])
    again = start_torchrun(*commands[1], **second.environment)
    wait_until_held(second, again)
    (worker, *_) = children_of(again.pid)
    os.kill(worker, signal.SIGKILL)
    assert finish_process(again).code != 0
    assert run_as(2, *commands[1]).code == 0
    assert_same_checkpoint(runs[1].checkpoint, runs[0].checkpoint)


def children_of(process: int) -> list[int]:
    listing = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in listing.read_text().split()]


def lines_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.log.open()]


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = write_config(tmp_path / "odd.yaml", schedule={"batch_size": 3})
    ended = run_as(2, "train", "--config", config, "--out", tmp_path / "run")
    assert ended.code != 0
    assert "a batch of 3 cannot be shared by 2 processes" in ended.err
    assert not (tmp_path / "run").exists()
