"""More pairs for a store that is there: `synthesize --add`."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthesis_runs import files_of
from tiny_run import IMAGES, RunCommand, signal_at

from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.store.read import open_store
from dgaug.store.verify import verify
from dgaug.synthesis.job import synthesize


def pairs_in(store: Path) -> list[tuple[int, int]]:
    """The pairs of a whole store, in its order."""
    assert verify(store).ok
    return [(int(i), int(j)) for i, j in open_store(store).pairs()]


def stamps(store: Path, folder: str = "shards") -> dict[str, int]:
    """When each shard was written."""
    return {path.name: path.stat().st_mtime_ns for path in (store / folder).glob("*.h5")}


@pytest.mark.parametrize("codec", ["jpeg", "codes"])
@pytest.mark.parametrize("more", ["random:60", "cross-camera", "per-appearance:3", "grid:6x5", "cross-identity"])
def test_what_is_added_is_what_is_new_and_the_rest_is_not_written_again(
    tiny_run: Run, tmp_path: Path, codec: str, more: str
) -> None:
    settings = {"codec": codec, "teacher": "none", "out": tmp_path / "store", "seed": 4}
    synthesize(tiny_run.folder, pairs="grid:5x6", shard_size=16, **settings)
    first, before = pairs_in(tmp_path / "store"), stamps(tmp_path / "store")
    codes = stamps(tmp_path / "store", "codes")
    made = synthesize(tiny_run.folder, pairs=more, add=True, **settings)
    synthesize(tiny_run.folder, pairs=more, **settings | {"out": tmp_path / "alone"})
    alone = pairs_in(tmp_path / "alone")
    result = pairs_in(tmp_path / "store")
    assert result == first + [pair for pair in alone if pair not in set(first)]
    assert len(first) < made.count == len(result) < len(first) + len(alone) + (more == "random:60")
    assert before.items() <= stamps(tmp_path / "store").items()
    assert codes.items() <= stamps(tmp_path / "store", "codes").items()
    store, other = open_store(tmp_path / "store"), open_store(tmp_path / "alone")
    for pair in result[-3:]:
        assert np.array_equal(store[result.index(pair)].image, other[alone.index(pair)].image)


def test_the_store_stays_readable_until_what_is_added_is_whole(tiny_run: Run, tmp_path: Path) -> None:
    synthesize(tiny_run.folder, pairs="random:50", out=tmp_path)
    before = pairs_in(tmp_path)
    seen: list[int] = []

    def look(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        seen.append(len(open_store(tmp_path)))

    synthesize(tiny_run.folder, pairs="random:90", add=True, out=tmp_path, progress=look)
    assert set(seen) == {50}
    after = pairs_in(tmp_path)
    assert after[:50] == before
    assert len(set(after)) == len(after) == 90
    with h5py.File(tmp_path / "dataset.h5") as store:
        assert store.attrs["pairs"] == "random:50 + random:90"
        assert store.attrs["planned"] == 140
        assert store.attrs["count"] == 90
        assert store["part/planned"][:].tolist() == [50, 90]


def test_the_same_commands_again_find_it_complete(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    first = ("synthesize", "--run", tiny_run.folder, "--pairs", "random:40", "--out", tmp_path)
    second = (*first[:4], "grid:3x3", "--add", *first[5:])
    for command in (first, second):
        assert dgaug(*command).code == 0
    before = files_of(tmp_path)
    for command in (first, second):
        ended = dgaug(*command)
        assert ended.code == 0
        assert "already complete" in ended.err
    assert files_of(tmp_path) == before
    refused = dgaug(*first[:4], "grid:2x3", *first[5:]).error()
    assert "pairs: random:40 + grid:3x3 -> grid:2x3" in refused
    assert "--add" in refused


def test_a_kill_while_adding_keeps_the_store_and_the_same_command_resumes(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand
) -> None:
    command = ("synthesize", "--run", tiny_run.folder, "--shard-size", "32", "--pairs")
    for store in ("killed", "undisturbed"):
        assert dgaug(*command, "random:96", "--out", tmp_path / store).code == 0
    adding = (*command, "all", "--add", "--out", tmp_path / "killed")
    assert signal_at(tmp_path / "killed/shards/000006.h5", signal.SIGKILL, *adding).code == -signal.SIGKILL
    assert len(pairs_in(tmp_path / "killed")) == 96, "what was whole stays whole"
    kept = stamps(tmp_path / "killed")
    assert dgaug(*adding).code == 0
    assert dgaug(*command, "all", "--add", "--out", tmp_path / "undisturbed").code == 0
    assert kept.items() <= stamps(tmp_path / "killed").items()
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "undisturbed")
    assert sorted(pairs_in(tmp_path / "killed")) == [(i, j) for i in range(IMAGES) for j in range(IMAGES)]


def test_an_abandoned_addition_leaves_nothing_to_the_next(tiny_run: Run, tmp_path: Path) -> None:
    def stop(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title == "synthesis" and done > 80:
            raise KeyboardInterrupt

    for store in (tmp_path / "a", tmp_path / "b"):
        synthesize(tiny_run.folder, pairs="random:30", shard_size=16, out=store)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tiny_run.folder, pairs="cross-camera", shard_size=16, add=True, out=tmp_path / "a", progress=stop)
    assert len(stamps(tmp_path / "a")) > 3
    for store in (tmp_path / "a", tmp_path / "b"):
        synthesize(tiny_run.folder, pairs="grid:4x5", shard_size=16, add=True, out=store)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_a_lost_shard_of_an_earlier_part_is_made_again(tiny_run: Run, tmp_path: Path) -> None:
    synthesize(tiny_run.folder, pairs="random:40", shard_size=16, out=tmp_path)
    synthesize(tiny_run.folder, pairs="grid:4x4", add=True, out=tmp_path)
    before = files_of(tmp_path)
    for shard in ("000001.h5", "000003.h5"):
        (tmp_path / "shards" / shard).unlink()
    assert not synthesize(tiny_run.folder, pairs="grid:4x4", add=True, out=tmp_path).already_complete
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("codec", ["jpeg", "codes"])
def test_a_list_of_pairs_can_be_added_and_added_to(tiny_run: Run, tmp_path: Path, codec: str) -> None:
    settings = {"codec": codec, "teacher": "none", "out": tmp_path / "store"}
    for name, lines in (("one", "0,1\n2,3\n"), ("two", "2,3\n4,5\n")):
        (tmp_path / f"{name}.csv").write_text(f"appearance,structure\n{lines}", encoding="utf-8")
        synthesize(tiny_run.folder, pairs=f"csv:{tmp_path / name}.csv", add=True, **settings)
        (tmp_path / f"{name}.csv").unlink()
    synthesize(tiny_run.folder, pairs="grid:24x1", add=True, **settings)
    result = pairs_in(tmp_path / "store")
    assert result[:3] == [(0, 1), (2, 3), (4, 5)]
    assert len(set(result)) == len(result) >= 3 + IMAGES - 3
    next((tmp_path / "store" / "shards").glob("000000.h5")).unlink()
    with pytest.raises(DgaugError, match=r"name it with --pairs csv:FILE"):
        synthesize(tiny_run.folder, pairs="grid:24x2", add=True, **settings)


def test_only_pairs_can_differ_in_what_is_added(tiny_run: Run, tmp_path: Path) -> None:
    synthesize(tiny_run.folder, pairs="random:9", out=tmp_path)
    before = files_of(tmp_path)
    with pytest.raises(DgaugError, match="codec: jpeg -> png") as refused:
        synthesize(tiny_run.folder, pairs="random:20", codec="png", add=True, out=tmp_path)
    assert "--add" not in str(refused.value)
    assert files_of(tmp_path) == before


def test_a_dry_run_counts_what_is_new(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    command = ("synthesize", "--run", tiny_run.folder, "--out", tmp_path, "--json", "--pairs")
    assert dgaug(*command, "random:400").code == 0
    plan = json.loads(dgaug(*command, "all", "--add", "--dry-run").out)
    assert plan["pairs"] == IMAGES**2
    whole = json.loads(dgaug(*command, "all", "--dry-run", "--force").out)
    assert 0 < plan["bytes_to_write"] < whole["bytes_to_write"]


def test_labels_of_added_pairs_are_stored_and_unsure_ones_left_out(tiny_run: Run, tmp_path: Path) -> None:
    top = [item.label_probability[0] for item in open_store(tiny_run.store)]
    least = float(np.quantile(top, 0.7))
    settings = {"min_confidence": least, "out": tmp_path}
    synthesize(tiny_run.folder, pairs="random:100", **settings)
    synthesize(tiny_run.folder, pairs="all", add=True, **settings)
    synthesize(tiny_run.folder, pairs="all", **settings | {"out": tmp_path / "alone"})
    alone = pairs_in(tmp_path / "alone")
    assert set(pairs_in(tmp_path)) == set(alone)
    assert 100 < len(alone) < 250
    assert open_store(tmp_path)[-1].label_probability[0] > least - 1e-3
