"""The engine `local`, alone and under torchrun: the same bytes, whatever happens on the way."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from held import Hold, start_held
from synthesis_runs import SHARD, SHARDS, command, files_of, finish, start_torchrun, undisturbed_store, wait_for_shards
from tiny_run import RunCommand, finish_process, finish_ranks
from warm_processes import WarmProcess, run_command, run_with_small_files, run_with_threads, start_ranks

from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.store.verify import verify
from dgaug.synthesis.job import synthesize

KILLS = 8


def shards_in(store: Path) -> int:
    return len(list((store / "shards").glob("*.h5")))


@pytest.fixture(scope="module")
def undisturbed(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return undisturbed_store(tiny_run, tmp_path_factory.mktemp("undisturbed"))


def test_a_synthesis_killed_again_and_again_at_random_moments_ends_in_the_same_bytes(
    tiny_run: Run, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    rng = random.Random(1)
    killed = [0]
    while len(killed) <= KILLS:
        # It waits after a few shards, however long the kill takes on a busy machine.
        process = start_held(Hold(tmp_path / "shards/*.h5", killed[-1] + 3), *command(tiny_run, tmp_path))
        # Every other time only after another shard, or a slow machine would never get that far.
        least = killed[-1] + 1 if len(killed) % 2 else 0
        while not (tmp_path / "working").exists() or shards_in(tmp_path) < least:
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.05 if least else 0.4))
        process.kill()
        assert finish_process(process).code == -signal.SIGKILL
        killed.append(shards_in(tmp_path))
    assert killed == sorted(killed), "a finished shard was lost"
    assert KILLS // 2 <= killed[-1] < SHARDS
    synthesize(tiny_run.folder, shard_size=16, out=tmp_path)
    assert files_of(tmp_path) == undisturbed


def test_threads_decide_no_byte(tiny_run: Run, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    for threads in (1, 3):
        store = tmp_path / str(threads)
        finish(WarmProcess(run_with_threads, threads, *command(tiny_run, store)))
        assert files_of(store) == undisturbed


def test_two_processes_share_the_shards_and_make_the_bytes_of_one(
    tiny_run: Run, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    ended = finish_ranks(start_ranks(run_command, *command(tiny_run, tmp_path)))
    assert ended.code == 0, ended.err
    assert files_of(tmp_path) == undisturbed
    assert ended.err.count("next: dgaug score-fid") == 1, "only rank 0 logs"


def test_torchrun_ends_cleanly_on_a_signal_and_another_number_of_processes_resumes(
    tiny_run: Run, tmp_path: Path, undisturbed: dict[str, bytes], dgaug: RunCommand
) -> None:
    where = Hold(tmp_path / "shards/*.h5", 3)
    process = start_torchrun(*command(tiny_run, tmp_path), **where.environment)
    wait_for_shards(process, tmp_path, 3)
    process.send_signal(signal.SIGTERM)
    ended = finish_process(process)
    assert ended.code != 0
    assert "interrupted by signal 15" in ended.err
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").glob("*.h5")}
    assert 3 <= len(kept) < SHARDS
    assert dgaug(*command(tiny_run, tmp_path)).code == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert files_of(tmp_path) == undisturbed


def test_the_mistake_of_one_process_ends_all(tiny_run: Run, tmp_path: Path) -> None:
    process = start_torchrun(*command(tiny_run, tmp_path, "--teacher", str(tmp_path / "gone.pt")))
    ended = finish_process(process)
    assert ended.code != 0
    assert "error: " in ended.err
    assert "gone.pt" in ended.err
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("codec", "limit", "whole"),
    [("jpeg", 40_000, []), ("raw", 300_000, []), ("codes", 40_000, []), ("codes", 300_000, ["000000.h5"])],
)
def test_a_full_disk_is_said_and_leaves_whole_files(
    tiny_run: Run, tmp_path: Path, codec: str, limit: int, whole: list[str]
) -> None:
    arguments = command(tiny_run, tmp_path, "--codec", codec)
    arguments[arguments.index("--shard-size") + 1] = "96"
    ended = finish_process(WarmProcess(run_with_small_files, limit, *arguments))
    assert "File too large" in ended.error()
    assert list((tmp_path / "shards").iterdir()) == []
    assert [path.name for path in tmp_path.glob("codes/*")] == whole
    assert synthesize(tiny_run.folder, codec=codec, shard_size=96, out=tmp_path).count == SHARD * SHARDS
    assert verify(tmp_path).ok


def test_the_plan_counts_only_what_is_still_to_be_written(tiny_run: Run, tmp_path: Path) -> None:
    whole = synthesize(tiny_run.folder, shard_size=96, out=tmp_path, dry_run=True).plan
    assert whole.to_write > whole.bytes, "the codes need room while it works"
    shutil.copytree(tiny_run.store, tmp_path, dirs_exist_ok=True)
    assert synthesize(tiny_run.folder, shard_size=96, out=tmp_path, dry_run=True).plan.to_write == 0
    (tmp_path / "shards" / "000001.h5").unlink()
    part = synthesize(tiny_run.folder, shard_size=96, out=tmp_path, dry_run=True).plan
    codes = whole.to_write - whole.bytes
    assert part.bytes == whole.bytes
    assert part.to_write == pytest.approx(whole.bytes * 96 / 576 + codes, abs=2)
    assert part.seconds < whole.seconds
    over = synthesize(tiny_run.folder, shard_size=96, out=tmp_path, dry_run=True, force=True).plan
    assert over.to_write == whole.to_write, "--force throws away what is there"


def test_a_checkpoint_without_a_teacher_says_that_there_are_no_labels(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand
) -> None:
    arguments = ("--checkpoint", tiny_run.checkpoint, "--data", tiny_run.data_root(), "--pairs", "random:3")
    ended = dgaug("synthesize", *arguments, "--out", tmp_path / "a")
    assert ended.code == 0
    assert "no labels: --checkpoint came without --teacher" in ended.err
    assert "no labels" not in dgaug("synthesize", *arguments, "--out", tmp_path / "b", "--teacher", "none").err


def test_another_checkpoint_under_the_same_name_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run.folder, run, ignore=shutil.ignore_patterns("store"))

    def exchange(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title == "synthesis":
            shutil.copyfile(min((run / "checkpoints").glob("0*.pt")), run / "checkpoints" / "last.pt")

    with pytest.raises(DgaugError, match=r"expected .*last\.pt .* to be the file that this synthesis was started with"):
        synthesize(run, shard_size=16, progress=exchange)


@pytest.mark.parametrize("teacher", ["none", None])
def test_two_processes_leave_a_store_of_codes_like_one(tiny_run: Run, tmp_path: Path, teacher: str | None) -> None:
    more = ("--codec", "codes", *(("--teacher", teacher) if teacher else ()))
    assert finish_ranks(start_ranks(run_command, *command(tiny_run, tmp_path / "two", *more))).code == 0
    synthesize(tiny_run.folder, shard_size=16, codec="codes", teacher=teacher, out=tmp_path / "one")
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    assert verify(tmp_path / "two").ok
