"""The engine `ray`: a cluster of its own or an existing one, killed drivers, killed workers; always the same bytes."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from held import Hold
from synthesis_runs import SHARDS, command, files_of, finish, undisturbed_store, wait_for_shards
from tiny_run import RunCommand, finish_process, start_cold

from dgaug.runs import Run
from dgaug.store.read import open_store
from dgaug.store.verify import verify


@pytest.fixture(scope="module")
def undisturbed(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return undisturbed_store(tiny_run, tmp_path_factory.mktemp("undisturbed"))


def workers_at_work(driver: subprocess.Popen[str]) -> list[int]:
    """The processes that make shards, at least one, of the cluster that a driver started."""
    while True:
        result = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
        lines = [line.split(maxsplit=2) for line in result.splitlines()[1:]]
        parent = {int(pid): int(ppid) for pid, ppid, _ in lines}
        working = [int(pid) for pid, _, title in lines if title.startswith("ray::make_shard")]
        if workers := [pid for pid in working if driver.pid in _ancestors(pid, parent)]:
            return workers
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.01)


def _ancestors(pid: int, parent: dict[int, int]) -> set[int]:
    result = set()
    while (pid := parent.get(pid, 0)) > 1:
        result.add(pid)
    return result


def shards_of(store: Path) -> dict[Path, int]:
    """The finished shards and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (store / "shards").glob("*.h5")}


@pytest.mark.parametrize(("drivers", "kills"), [(1, 2), pytest.param(3, 3, marks=pytest.mark.hostile)])
def test_workers_and_drivers_killed_again_and_again_lose_no_finished_shard(
    tiny_run: Run, tmp_path: Path, undisturbed: dict[str, bytes], drivers: int, kills: int
) -> None:
    rng = random.Random(2)
    arguments = command(tiny_run, tmp_path, "--engine", "ray")
    kept: dict[Path, int] = {}
    killed = 0
    where = Hold(tmp_path / "shards/*.h5")
    for _ in range(drivers):
        driver = start_cold(*arguments, **where.environment)
        for _ in range(kills):
            where.allow(before := len(shards_of(tmp_path)) + 1)
            wait_for_shards(driver, tmp_path, before)
            time.sleep(rng.uniform(0, 0.05))
            for pid in workers_at_work(driver):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        where.allow(before := len(shards_of(tmp_path)) + 1)
        wait_for_shards(driver, tmp_path, before)
        time.sleep(rng.uniform(0, 0.1))
        driver.kill()
        killed += 1
        assert finish_process(driver).code == -signal.SIGKILL
        result = shards_of(tmp_path)
        assert kept.items() <= result.items(), "a finished shard was made again"
        kept = result
    assert killed >= drivers * (kills + 1)
    assert len(kept) < SHARDS
    ended = finish(start_cold(*arguments))
    assert kept.items() <= shards_of(tmp_path).items()
    assert files_of(tmp_path) == undisturbed
    # Lines of progress come every few seconds, so a slow machine writes more of them.
    assert sum(not re.search(r": [\d,]+/[\d,]+", line) for line in ended.err.splitlines()) < 8, ended.err


def test_ctrl_c_ends_the_workers_and_another_engine_finishes_the_labelled_codes(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand
) -> None:
    store, codes = tmp_path / "store", ("--codec", "codes")
    where = Hold(store / "shards/*.h5", 2)
    driver = start_cold(*command(tiny_run, store, *codes, "--engine", "ray"), **where.environment)
    wait_for_shards(driver, store, 2)
    driver.send_signal(signal.SIGINT)
    ended = finish_process(driver)
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    assert "run the same command again" in ended.err
    assert len(list((store / "shards").glob("*.h5"))) < SHARDS
    assert dgaug(*command(tiny_run, store, *codes)).code == 0
    assert dgaug(*command(tiny_run, tmp_path / "undisturbed", *codes)).code == 0
    assert files_of(store) == files_of(tmp_path / "undisturbed")
    assert verify(store).ok
    assert open_store(store).has_labels


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at 127.0.0.1:1"),
        ("somewhere", "expected --ray-address HOST:PORT"),
        ("auto", "cannot join the Ray cluster at auto"),
    ],
)
def test_a_cluster_that_is_not_there_is_named(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand, address: str, named: str
) -> None:
    """Ray's own way of saying so takes minutes and many lines."""
    ended = dgaug(*command(tiny_run, tmp_path, "--engine", "ray", "--ray-address", address))
    assert named in ended.error()


def test_without_ray_the_remedy_is_named(tiny_run: Run, tmp_path: Path) -> None:
    without = "import sys; sys.modules['ray'] = None; from dgaug_cli.main import main; main()"
    ended = finish_process(
        subprocess.Popen(
            [sys.executable, "-c", without, *command(tiny_run, tmp_path, "--engine", "ray")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )
    assert "pip install 'dgaug[ray]'" in ended.error()


def test_an_address_without_the_engine_is_refused(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    ended = dgaug(*command(tiny_run, tmp_path, "--ray-address", "127.0.0.1:6379"))
    assert "--ray-address needs --engine ray" in ended.error()
