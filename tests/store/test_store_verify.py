"""`verify` finds what is wrong with a store, and nothing where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_store import SPEC, batches_of, sources_of, write_store

from dgaug.errors import DgaugError
from dgaug.store.assemble import finish_store
from dgaug.store.index import begin_store
from dgaug.store.shard_writer import ImageBatch, write_shard
from dgaug.store.verify import verify


@pytest.mark.parametrize("codec", ["jpeg", "png", "raw"])
@pytest.mark.parametrize("labels", ["none", "top", "dense"])
def test_a_whole_store_has_no_finding(tmp_path: Path, codec: str, labels: str) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(
        write_store(tmp_path / "store", codec=codec, labels=labels), on_progress=lambda *step: seen.append(step)
    )
    assert report.ok
    assert (report.images, report.shards) == (49, 3)
    assert seen == [(20, 49), (40, 49), (49, 49)]


def test_a_missing_and_a_cut_shard_are_found(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    (store / "shards/000000.h5").unlink()
    with open(store / "shards/000002.h5", "r+b") as shard:
        shard.truncate(1000)
    result = [(finding.where, finding.what[:7]) for finding in verify(store).findings]
    assert result == [("shards/000000.h5", "missing"), ("shards/000002.h5", "expecte")]


def test_every_flipped_bit_is_found_whichever_file_it_is_in(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    generator = np.random.default_rng(0)
    for name in ["dataset.h5", "shards/000001.h5"]:
        whole = (store / name).read_bytes()
        for place in generator.integers(0, len(whole), 40):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(generator.integers(8))
            (store / name).write_bytes(damaged)
            assert [finding.where for finding in verify(store).findings] == [name]
        (store / name).write_bytes(whole)
    assert verify(store).ok


def test_a_file_that_is_no_hdf5_is_a_finding(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    (store / "dataset.h5").write_bytes(b"not hdf5")
    assert [finding.where for finding in verify(store).findings] == ["dataset.h5"]


def test_an_unfinished_store_is_a_finding(tmp_path: Path) -> None:
    begin_store(tmp_path, SPEC, sources_of())
    assert "unfinished" in verify(tmp_path).findings[0].what


def test_no_store_and_a_newer_schema_are_wrong_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DgaugError, match="found none"):
        verify(tmp_path)
    store = write_store(tmp_path / "store")
    monkeypatch.setattr("dgaug.store.safe_hdf5.SCHEMA", 0)
    with pytest.raises(DgaugError, match="found schema 1"):
        verify(store)


Spoil = Callable[[ImageBatch], ImageBatch]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda batch: replace(batch, structure=batch.structure + 6), "pairs outside the sources"),
        (lambda batch: replace(batch, images=[b"no image"] * len(batch.images)), "damaged images"),
    ],
)
def test_wrong_content_is_found_though_every_hash_fits(tmp_path: Path, spoil: Spoil, message: str) -> None:
    sources = sources_of()

    def spoiled(number: int) -> Iterator[ImageBatch]:
        return (spoil(batch) for batch in batches_of(SPEC, sources, number))

    begin_store(tmp_path, SPEC, sources)
    for number in range(3):
        batches = spoiled(number) if number == 1 else batches_of(SPEC, sources, number)
        write_shard(tmp_path, number, batches, spec=SPEC, sources=sources)
    finish_store(tmp_path)
    findings = verify(tmp_path).findings
    assert {finding.where for finding in findings} == {"shards/000001.h5"}
    assert message in findings[0].what


def test_labels_that_do_not_sum_to_one_are_found(tmp_path: Path) -> None:
    sources = sources_of()
    begin_store(tmp_path, SPEC, sources)
    for number in range(3):
        write_shard(tmp_path, number, batches_of(SPEC, sources, number), spec=SPEC, sources=sources)
    with h5py.File(tmp_path / "shards/000002.h5", "r+") as shard:
        shard["label/probability"][4, 0] = 0.125
    finish_store(tmp_path)
    assert [finding.what for finding in verify(tmp_path).findings] == [
        "1 labels that do not sum to one, the first at row 4"
    ]
