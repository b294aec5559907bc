"""Syntheses as real processes, and what must be left of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tiny_run import Ended, Started, finish_process

from dgaug.runs import Run
from dgaug.synthesis.job import synthesize

SHARD = 16
SHARDS = 36
"""Of the 576 pairs of the tiny run."""


def files_of(store: Path) -> dict[str, bytes]:
    """Every file of a store but the lock."""
    paths = (path for path in store.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def undisturbed_store(run: Run, store: Path) -> dict[str, bytes]:
    """The files of a store of many small shards, made here without a disturbance."""
    synthesize(run.folder, shard_size=SHARD, out=store)
    assert len(list((store / "shards").iterdir())) == SHARDS
    return files_of(store)


def command(run: Run, store: Path, *more: str) -> list[str]:
    """The arguments of a synthesis into many small shards."""
    return ["synthesize", "--run", str(run.folder), "--shard-size", str(SHARD), "--out", str(store), *more]


def start_torchrun(*arguments: str, count: int = 2, **environment: str) -> subprocess.Popen[str]:
    """`torchrun -m dgaug …`, leader of a process group of its own."""
    starter = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    return subprocess.Popen(
        [*starter, "-m", "--", "dgaug", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_shards(process: Started, store: Path, count: int) -> None:
    """Until so many shards are there; the process must not end before."""
    while len(list((store / "shards").glob("*.h5"))) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def finish(process: Started) -> Ended:
    """Wait for a process that must end well."""
    ended = finish_process(process)
    assert ended.code == 0, ended.err
    return ended
