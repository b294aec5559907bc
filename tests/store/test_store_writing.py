"""Writing a store: what is left when it is stopped, and how it resumes."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_store import SPEC, batches_of, files_of, sources_of, spec_with, write_store
from warm_processes import WarmProcess

from dgaug.data.records import Record, Role
from dgaug.errors import DgaugError
from dgaug.store.assemble import finish_store
from dgaug.store.index import begin_store, read_state
from dgaug.store.read import open_store
from dgaug.store.shard_writer import ImageBatch, finished_shards, write_shard
from dgaug.store.sources import Sources
from dgaug.store.spec import default_shard_size

ENVIRONMENT = {**os.environ, "PYTHONPATH": ":".join([str(Path(__file__).parent), *filter(None, sys.path)])}


def write_without_end() -> None:
    sources, spec = sources_of(30), spec_with(planned=900, shard_size=300, codec="raw")
    begin_store(Path("store"), spec, sources)
    for turn in itertools.count():
        number = turn % 3
        write_shard(Path("store"), number, batches_of(spec, sources, number, size=64), spec=spec, sources=sources)


def test_a_killed_writer_leaves_no_shard_that_only_looks_whole(tmp_path: Path) -> None:
    left_aside, tries = 0, 0
    while tries < 4 or not left_aside:
        writer = WarmProcess(write_without_end, cwd=tmp_path)
        while not (tmp_path / "store/dataset.h5").exists():
            assert writer.poll() is None, writer.communicate()
            time.sleep(0.001)
        time.sleep(0.05 + 0.037 * (tries % 4))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        left_aside += len(list(tmp_path.glob("store/shards/*.part")))
        tries += 1
        for number in finished_shards(tmp_path / "store"):
            with h5py.File(tmp_path / f"store/shards/{number:06d}.h5") as shard:
                assert shard["image/pixels"].shape == (300, 12, 6, 3)
                assert shard["pair/appearance"][:].tolist() == [
                    k // 30 for k in range(number * 300, number * 300 + 300)
                ]


def test_a_killed_job_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    sources = sources_of()
    store = tmp_path / "store"
    begin_store(store, SPEC, sources)
    write_shard(store, 2, batches_of(SPEC, sources, 2), spec=SPEC, sources=sources)
    (store / "shards/000000.h5.part").write_bytes(b"what a kill left")
    assert finished_shards(store) == {2}
    begin_store(store, SPEC, sources)
    for number in {0, 1, 2} - finished_shards(store):
        write_shard(store, number, batches_of(SPEC, sources, number), spec=SPEC, sources=sources)
    assert finish_store(store) == 49
    assert files_of(store) == files_of(write_store(tmp_path / "undisturbed"))


def test_a_full_disk_is_an_oserror_and_leaves_nothing(tmp_path: Path) -> None:
    script = """
import pathlib, resource, signal
from dataclasses import replace
from small_store import SPEC, spec_with, batches_of, sources_of, write_store
from dgaug.store.shard_writer import write_shard
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
sources, spec = sources_of(30), spec_with(planned=900, shard_size=900, codec="raw")
for _ in range(2):
    try:
        write_shard(pathlib.Path("full"), 0, batches_of(spec, sources, 0), spec=spec, sources=sources)
    except OSError as problem:
        print(type(problem).__name__, problem.errno, list(pathlib.Path("full/shards").iterdir()))
print(len(list(write_store(pathlib.Path("fits"), labels="none").glob("shards/*.h5"))))
"""
    shown = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == ["OSError 27 []", "OSError 27 []", "3"]


def test_an_error_among_the_batches_leaves_nothing(tmp_path: Path) -> None:
    sources = sources_of()

    def failing() -> Iterator[ImageBatch]:
        yield next(batches_of(SPEC, sources, 0))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, 0, failing(), spec=SPEC, sources=sources)
    assert list((tmp_path / "shards").iterdir()) == []


def test_a_shard_with_too_few_images_is_refused(tmp_path: Path) -> None:
    sources = sources_of()
    with pytest.raises(ValueError, match="20 images of shard 0, found 4"):
        write_shard(tmp_path, 0, [next(batches_of(SPEC, sources, 0))], spec=SPEC, sources=sources)
    assert finished_shards(tmp_path) == set()


def test_pairs_left_out_for_low_confidence_make_a_smaller_store(tmp_path: Path) -> None:
    sources, spec = sources_of(), spec_with(min_confidence=0.5, codec="png")
    begin_store(tmp_path, spec, sources)
    kept = {0: 3, 1: 0, 2: 2}
    for number, count in kept.items():
        first = next(batches_of(spec, sources, number))
        few = [ImageBatch(*(column[:count] for column in vars(first).values()))] if count else []
        write_shard(tmp_path, number, few, spec=spec, sources=sources)
    assert finish_store(tmp_path) == 5
    assert [item.structure for item in open_store(tmp_path)] == [0, 1, 2, 40 % 7, 41 % 7]


def test_a_store_with_no_image_left_is_still_a_store(tmp_path: Path) -> None:
    sources, spec = sources_of(), spec_with(min_confidence=0.9999)
    begin_store(tmp_path, spec, sources)
    for number in range(3):
        write_shard(tmp_path, number, [], spec=spec, sources=sources)
    assert finish_store(tmp_path) == len(open_store(tmp_path)) == 0


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    begin_store(tmp_path, SPEC, sources_of())
    with pytest.raises(DgaugError, match=r"seed: 0 -> 3; codec: jpeg -> png"):
        begin_store(tmp_path, spec_with(seed=3, codec="png"), sources_of())
    with pytest.raises(DgaugError, match="7 images -> 8 other ones"):
        begin_store(tmp_path, SPEC, sources_of(8))
    assert SPEC.extends(SPEC)


def test_settings_and_sources_come_back_from_the_file(tmp_path: Path) -> None:
    begin_store(tmp_path, SPEC, sources_of())
    state = read_state(tmp_path)
    assert state is not None
    assert (state.spec, state.complete, state.count) == (SPEC, False, 49)
    assert state.sources.digest() == sources_of().digest()
    assert read_state(tmp_path / "nothing") is None


def test_a_complete_store_stays_as_it_is(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    before = files_of(store)
    assert begin_store(store, SPEC, sources_of()).complete
    assert finish_store(store) == 49
    assert files_of(store) == before


def test_a_complete_store_that_lost_a_shard_is_mended_to_the_same_bytes(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    before = files_of(store)
    (store / "shards/000001.h5").unlink()
    (store / "shards/000002.h5").write_bytes(b"cut")
    assert not begin_store(store, SPEC, sources_of()).complete
    assert finished_shards(store) == {0}
    for number in (1, 2):
        write_shard(store, number, batches_of(SPEC, sources_of(), number), spec=SPEC, sources=sources_of())
    finish_store(store)
    assert files_of(store) == before


def test_a_store_is_not_finished_without_all_shards_or_with_a_foreign_one(tmp_path: Path) -> None:
    store, other = tmp_path / "store", spec_with(seed=1)
    begin_store(store, SPEC, sources_of())
    for number in (0, 1):
        write_shard(store, number, batches_of(SPEC, sources_of(), number), spec=SPEC, sources=sources_of())
    with pytest.raises(DgaugError, match=r"000002\.h5"):
        finish_store(store)
    write_shard(store, 2, batches_of(other, sources_of(), 2), spec=other, sources=sources_of())
    with pytest.raises(DgaugError, match=r"000002\.h5 to belong to this store"):
        finish_store(store)
    assert list(store.glob("*.part")) == []


def test_shards_are_few_large_and_whole_micro_batches() -> None:
    assert default_shard_size(49) == 4096
    size = default_shard_size(167_340_096)
    assert size == 185_984
    assert -(-167_340_096 // size) == 900, "some of a thousand are left for pairs that are added"
    assert -(-167_340_096 // default_shard_size(167_340_096, taken=900)) <= 100


def test_more_than_a_thousand_shards_are_refused_with_the_size_that_fits() -> None:
    with pytest.raises(DgaugError, match="--shard-size 1001"):
        spec_with(planned=1_000_001, shard_size=1000)


@pytest.mark.parametrize("wrong", [{"codec": "gif"}, {"quality": 0}, {"labels": "some"}, {"shard_size": 0}])
def test_settings_that_make_no_store_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(DgaugError, match="expected"):
        spec_with(**wrong)


def test_sources_are_the_identified_images_sorted_by_path() -> None:
    sources = Sources.of(
        [
            Record("b.jpg", "0007", 2),
            Record("a.jpg", "0010"),
            Record("c.jpg", "-1", 1, Role.JUNK),
            Record("d.jpg", "0007"),
        ]
    )
    assert sources.path == ["a.jpg", "b.jpg", "d.jpg"]
    assert sources.class_name == ["0007", "0010"]
    assert (sources.identity.tolist(), sources.camera.tolist()) == ([1, 0, 0], [-1, 2, -1])
    assert sources.identity.dtype == sources.camera.dtype == np.int32


@pytest.mark.parametrize(
    ("records", "message"),
    [([], "found none"), ([Record("a", "1"), Record("a", "2")], "twice"), ([Record("a\udce9.jpg", "1")], "UTF-8")],
)
def test_sources_that_no_store_can_name_are_refused(records: list[Record], message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        Sources.of(records)
