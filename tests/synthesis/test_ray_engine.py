"""The engine `ray`: a cluster of its own or an existing one, killed drivers, killed workers; always the same bytes."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
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


def workers_at_work(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that make shards, at least one, of the cluster that a driver started."""
    while not (workers := [process for process in cluster_of(driver) if _title(process).startswith("ray::make_shard")]):
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.01)
    return workers


def cluster_of(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """All processes that a driver started and that are still its descendants."""
    return list(psutil.Process(driver.pid).children(recursive=True))


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it ended, or has no arguments any more
        return ""


def shards_of(store: Path) -> dict[Path, int]:
    """The finished shards and when each was written."""
    return {path: path.stat().st_mtime_ns for path in (store / "shards").glob("*.h5")}


@pytest.mark.parametrize(("drivers", "kills"), [(1, 1), pytest.param(3, 3, marks=pytest.mark.hostile)])
def test_workers_and_drivers_killed_again_and_again_lose_no_finished_shard(
    tiny_run: Run, tmp_path: Path, undisturbed: dict[str, bytes], drivers: int, kills: int
) -> None:
    rng = random.Random(2)
    arguments = command(tiny_run, tmp_path, "--engine", "ray")
    kept: dict[Path, int] = {}
    killed = 0
    where = Hold(tmp_path / "shards/*.h5")
    cluster: list[psutil.Process] = []
    for _ in range(drivers):
        for process in cluster:  # workers left by the last driver could fill the limit and hold this one at its start
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(cluster)
        driver = start_cold(*arguments, **where.environment)
        for _ in range(kills):
            where.allow(before := len(shards_of(tmp_path)) + 1)
            wait_for_shards(driver, tmp_path, before)
            time.sleep(rng.uniform(0, 0.05))
            for worker in workers_at_work(driver):
                worker.kill()
                killed += 1
        where.allow(before := len(shards_of(tmp_path)) + 1)
        wait_for_shards(driver, tmp_path, before)
        time.sleep(rng.uniform(0, 0.1))
        cluster = cluster_of(driver)
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
