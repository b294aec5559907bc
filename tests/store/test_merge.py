"""Which images a merged data set has; what it refuses; how it resumes, is complete, or starts over."""

from __future__ import annotations

import errno
import inspect
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from merged_data import QUERY, TRAIN, assert_donors, merged, store_of, write_data
from PIL import Image
from small_store import files_of, table_of

import dgaug
from dgaug.errors import DgaugError, Interrupted
from dgaug.store import merge_images
from dgaug.store.merge import export_merged
from dgaug.store.read import open_store


def test_the_label_names_the_identity_of_its_policy(store: Path, data: Path, tmp_path: Path) -> None:
    opened = open_store(store)
    out = tmp_path / "structure"
    merged(store, data, out, tool="csv", labels="structure")
    assert_donors(out, opened, data, table_of(out / "manifest.csv"), of="structure")
    merged(store, data, tmp_path / "pseudo", tool="market", labels="pseudo", ratio=100)
    generated = [row for row in table_of(tmp_path / "pseudo" / "images.csv") if row["generated"] == "1"]
    assert len(generated) == 49
    for row in generated:
        item = opened[int(row["path"].split("_")[-2])]
        assert row["identity"] == opened.sources.class_name[item.label_class[0]]


def chosen(out: Path) -> dict[int, str]:
    rows = [row for row in table_of(out / "manifest.csv") if row["generated"] == "1"]
    return {int(row["path"].rpartition("/")[2][:-4]): row["identity"] for row in rows}


def test_ratio_and_confidence_decide_which_images_come(store: Path, data: Path, tmp_path: Path) -> None:
    opened = open_store(store)
    sure = {k: float(opened[k].label_probability[0]) for k in range(49)}
    merged(store, data, tmp_path / "two", tool="csv", ratio=2)
    assert Counter(chosen(tmp_path / "two").values()) == {"0002": 6, "0007": 4, "0010": 4}
    merged(store, data, tmp_path / "seed", tool="csv", ratio=2, seed=1)
    assert chosen(tmp_path / "seed") != chosen(tmp_path / "two")
    merged(store, data, tmp_path / "sure", tool="csv", ratio=1, select="confidence")
    for identity, count in (("0002", 3), ("0007", 2), ("0010", 2)):
        its = [k for k in range(49) if opened.sources.identity_name[opened[k].appearance] == identity]
        best = sorted(its, key=lambda k: (-sure[k], k))[:count]
        assert sorted(k for k, name in chosen(tmp_path / "sure").items() if name == identity) == sorted(best)
    merged(store, data, tmp_path / "least", tool="csv", ratio=100, min_confidence=0.6)
    assert set(chosen(tmp_path / "least")) == {k for k in range(49) if sure[k] >= 0.6}
    with pytest.raises(DgaugError, match=r"left at --ratio 0\.1 and --min-confidence 0"):
        export_merged(store, data, tool="csv", out=tmp_path / "none", ratio=0.1)


def changed(data: Path, folder: Path, what: str) -> Path:
    """A copy of the data, changed."""
    copy = folder / "changed"
    shutil.copytree(data, copy)
    train = copy / "bounding_box_train"
    if what == "missing":
        (train / f"{TRAIN[0]}.jpg").unlink()
    elif what == "more":
        shutil.copy(train / f"{TRAIN[0]}.jpg", train / "0002_c1s1_000999_03.jpg")
    elif what == "damaged":
        (copy / "query" / f"{QUERY[0]}.jpg").write_bytes(b"no image")
    return copy


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("missing", "1 of its 7 images are missing, the first bounding_box_train/0002_c1s1_000451_03.jpg"),
        ("more", "made from 7 of these 8 training images, not from bounding_box_train/0002_c1s1_000999_03.jpg"),
        ("damaged", "1 damaged image: query/0101_c1s1_000001_00.jpg"),
    ],
)
def test_other_data_than_the_stores_are_refused(store: Path, data: Path, tmp_path: Path, what: str, said: str) -> None:
    other = changed(data, tmp_path, what)
    with pytest.raises(DgaugError, match=re.escape(said)):
        export_merged(store, other, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["changed"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tool": "lmdb"}, "market, boxmot, oml, wildlife, csv, huggingface"),
        ({"tool": "market", "labels": "soft"}, "--labels appearance, structure or pseudo, or --for csv or huggingface"),
        ({"tool": "oml", "labels": "two-soft"}, "do not name one identity"),
        ({"tool": "csv", "labels": "hard"}, "unknown label policy 'hard'"),
        ({"tool": "huggingface"}, "needs --license TEXT"),
        ({"tool": "huggingface", "license": "mit", "shard_size": 0}, "--shard-size of 1 or more"),
        ({"select": "best"}, "--select to be random, confidence or judge:FILE,keep=0.5"),
        ({"ratio": 0}, "--ratio above 0"),
        ({"min_confidence": 2}, "--min-confidence from 0 to 1"),
        ({"tool": "oml", "unknown_camera": 3}, "--unknown-camera is of --for market and boxmot"),
        ({"out": "data/bounding_box_train/out"}, "lies inside the data"),
        ({"out": "data"}, "lies inside the data"),
        ({"out": "store/out"}, "lies inside the store"),
        ({"out": "photos"}, "it holds holiday.jpg, which is no part of"),
        ({"out": "file"}, "is a file; --out names"),
    ],
)
def test_wrong_use_writes_nothing(
    store: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data, "data")
    shutil.copytree(store, "store")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"years of work")
    (tmp_path / "file").write_bytes(b"")
    before = files_of(tmp_path)
    with pytest.raises(DgaugError, match=re.escape(said)):
        export_merged("store", "data", **{"out": "out", **options})
    assert files_of(tmp_path) == before


def test_a_store_without_labels_has_no_confidence(data: Path, tmp_path: Path) -> None:
    store = store_of(data, tmp_path / "store", labels="none")
    assert merged(store, data, tmp_path / "out", tool="csv").labels == "appearance"
    for options in ({"labels": "pseudo"}, {"select": "confidence"}, {"min_confidence": 0.5}):
        with pytest.raises(DgaugError, match="teacher"):
            export_merged(store, data, tool="market", out=tmp_path / "other", **options)


def test_images_of_other_sizes_are_told(tmp_path: Path) -> None:
    own = write_data(tmp_path / "data")
    Image.new("RGB", (30, 40)).save(own / "query" / f"{QUERY[0]}.jpg")
    made = merged(store_of(own, tmp_path / "store"), own, tmp_path / "out")
    assert made.notes == [
        "image sizes differ: real ones 12 x 6 (12), 40 x 30 (1), generated ones 12 x 6; the readers resize them"
    ]


def test_where_no_link_can_be_made_a_copy_is(
    store: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refused)
    merged(store, data, tmp_path / "out")
    for name in TRAIN:
        copy, original = (folder / "bounding_box_train" / f"{name}.jpg" for folder in (tmp_path / "out", data))
        assert not copy.samefile(original)
        assert copy.read_bytes() == original.read_bytes()


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_a_stopped_export_has_no_name_and_resumes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    store = store_of(data, tmp_path / "store", codec=codec, quality=90 if codec == "jpeg" else 0)
    merged(store, data, tmp_path / "undisturbed", ratio=100)
    monkeypatch.setattr(merge_images, "_AT_ONCE", 4)

    def progress(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title == "exporting" and done > 30:
            raise Interrupted(2)

    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        export_merged(store, data, out=out, ratio=100, progress=progress)
    assert not out.exists()
    with pytest.raises(DgaugError, match=r"ratio: 100 -> 2\.0"):
        export_merged(store, data, out=out, ratio=2.0)
    short = next((tmp_path / "out.part" / "bounding_box_train").glob("*_0000000_00.jpg"))
    short.write_bytes(b"")
    assert not merged(store, data, out, ratio=100).already_complete
    ours, theirs = (
        {name: content for name, content in files_of(folder).items() if name != ".lock"}
        for folder in (out, tmp_path / "undisturbed")
    )
    assert ours == theirs


def test_an_export_is_complete_mended_or_started_over(store: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    merged(store, data, out)
    before = files_of(out)
    assert merged(store, data, out).already_complete
    (out / "query" / f"{QUERY[0]}.jpg").unlink()
    assert not merged(store, data, out).already_complete
    assert files_of(out) == before
    with pytest.raises(DgaugError, match=r"made with other settings \(tool: market -> csv"):
        export_merged(store, data, tool="csv", out=out)
    assert not (tmp_path / "out.part").exists()
    (out / "query" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(DgaugError, match="also holds 'query'"):
        export_merged(store, data, tool="csv", out=out, force=True)
    assert (out / "query" / "mine.jpg").read_bytes() == b"mine"
    (out / "query" / "mine.jpg").unlink()
    merged(store, data, out, tool="csv", force=True)
    assert sorted(path.name for path in out.iterdir()) == [".lock", "export.json", "generated", "manifest.csv", "real"]
    assert sorted(path.name for path in (data / "query").iterdir()) == [f"{name}.jpg" for name in QUERY]


def test_the_package_offers_it() -> None:
    assert inspect.unwrap(dgaug.export_merged) is inspect.unwrap(export_merged)
