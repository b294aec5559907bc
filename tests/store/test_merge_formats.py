"""Real and generated images in one data set, read back by the rules that each tool publishes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from merged_data import FOLDERS, assert_donors, market_split, merged
from small_store import image_of, table_of

from dgaug.data.layouts import open_data
from dgaug.data.records import Role
from dgaug.store.merge import export_merged
from dgaug.store.read import open_store


@pytest.mark.parametrize("tool", ["market", "boxmot"])
def test_market_folders_are_read_as_one_data_set(store: Path, data: Path, tmp_path: Path, tool: str) -> None:
    out = tmp_path / "mixed"
    made = merged(store, data, out, tool=tool)
    assert (made.real, made.generated, made.identities) == (13, 7, 3)
    if tool == "boxmot":
        spec = yaml.safe_load((out / "market1501.yaml").read_text(encoding="utf-8"))
        assert spec == {
            "dataset": "market1501",
            "path": ".",
            "train": "bounding_box_train",
            "query": "query",
            "gallery": "bounding_box_test",
        }
    train, query, gallery = (market_split(out / name) for name in ("bounding_box_train", "query", "bounding_box_test"))
    assert Counter(identity for _, identity, _ in train) == {2: 6, 7: 4, 10: 4}
    assert sorted(identity for _, identity, _ in query) == [101, 102]
    assert sorted(identity for _, identity, _ in gallery) == [0, 101, 102]
    opened, rows = open_store(store), {row["path"]: row for row in table_of(out / "images.csv")}
    assert_donors(out, opened, data, list(rows.values()))
    for path, identity, camera in train:
        row = rows[path.relative_to(out).as_posix()]
        assert (identity, camera) == (int(row["identity"]), int(row["camera"]) - 1)
    for folder, names in FOLDERS.items():
        for name in names:
            assert (out / folder / f"{name}.jpg").samefile(data / folder / f"{name}.jpg")


def test_oml_reads_its_table(store: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mixed"
    made = merged(store, data, out, tool="oml")
    assert made.notes == ["1 junk images left out: the format has no place for them"]
    df = pd.read_csv(out / "df.csv")
    assert df["label"].dtype.kind == "i"
    assert set(df["split"]) == {"train", "validation"}
    assert all((out / path).is_file() for path in df["path"])
    train, validation = df[df["split"] == "train"], df[df["split"] == "validation"]
    assert train["is_query"].isna().all()
    assert train["is_gallery"].isna().all()
    assert set(validation["is_query"]) == set(validation["is_gallery"]) == {True, False}
    assert (len(train), len(validation), train["label"].nunique()) == (14, 5, 3)
    assert not validation["path"].str.startswith("generated").any()
    # A ranking leaves out what is of the query's own sequence: her images of the same camera.
    query = validation[validation["is_query"].astype(bool)]
    assert set(query["sequence"]) == {"101_c1", "102_c2"}
    rows = {row["path"]: row for row in table_of(out / "images.csv")}
    assert_donors(out, open_store(store), data, list(rows.values()))
    assert all(label == int(rows[path]["identity"]) for path, label in zip(df["path"], df["label"], strict=True))


def test_wildlife_tools_take_the_table_as_a_frame(store: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mixed"
    merged(store, data, out, tool="wildlife")
    df = pd.read_csv(out / "metadata.csv")
    assert df["image_id"].is_unique
    assert not df[["image_id", "identity", "path"]].isna().any().any()
    assert all((out / path).is_file() for path in df["path"])
    train = df[df["split"] == "train"]
    assert Counter(train["identity"]) == {2: 6, 7: 4, 10: 4}
    assert set(df[df["generated"] == 1]["split"]) == {"train"}
    rows = table_of(out / "images.csv")
    assert_donors(out, open_store(store), data, rows)
    assert [int(row["identity"]) for row in rows] == df["identity"].tolist()


def test_a_manifest_has_every_split_and_soft_labels(store: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mixed"
    made = merged(store, data, out, tool="csv", labels="soft")
    assert made.labels == "soft"
    before, after = open_data(data).splits, open_data(out).splits
    for split in ("query", "gallery"):
        assert [(one.identity, one.camera, one.role) for one in after[split]] == [
            (one.identity, one.camera, one.role) for one in before[split]
        ]
    assert Counter(one.role for one in after["gallery"])[Role.JUNK] == 1
    rows, opened = table_of(out / "manifest.csv"), open_store(store)
    assert_donors(out, opened, data, rows)
    for row in rows:
        if row["generated"] == "1":
            k = int(row["path"].rpartition("/")[2][:-4])
            shares = {row[f"label_{rank}"]: float(row[f"probability_{rank}"]) for rank in (1, 2, 3)}
            dense = dict(zip(opened.sources.class_name, opened.dense_label(k), strict=True))
            assert shares == pytest.approx(dense, abs=1e-3)
        elif row["split"] == "train":
            assert (row["label_1"], row["probability_1"]) == (row["identity"], "1.0")


def test_datasets_loads_tars_and_card_from_disk(
    store: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "mixed"
    made = merged(store, data, out, tool="huggingface", license="research only", shard_size=9)
    assert (made.labels, made.generated) == ("soft", 7)
    assert sorted(path.name for path in (out / "data").iterdir()) == [
        "gallery-00000.tar",
        "query-00000.tar",
        "train-00000.tar",
        "train-00001.tar",
    ]
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert {split: len(loaded[split]) for split in loaded} == {"train": 14, "query": 2, "gallery": 4}
    opened, rows = open_store(store), [row["json"] | {"jpg": row["jpg"]} for row in loaded["train"]]
    assert Counter(row["identity"] for row in rows) == {"0002": 6, "0007": 4, "0010": 4}
    row_of = {path: row for row, path in enumerate(opened.sources.path)}
    for row in (row for row in rows if row["generated"]):
        i, j = row_of[row["appearance"]], row_of[row["structure"]]
        k = i * 7 + j
        assert row["identity"] == opened.sources.identity_name[i]
        assert row["camera"] == opened.sources.camera[j]
        assert np.abs(np.asarray(row["jpg"]).astype(int) - image_of(k)).mean() < 4
        assert row["label_identity"] == [opened.sources.class_name[one] for one in opened[k].label_class]
        assert np.allclose(row["label_probability"], opened[k].label_probability)
    assert not any(row["json"]["generated"] for split in ("query", "gallery") for row in loaded[split])
    card = (out / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["license_name"], "synthetic" in head["tags"]) == ("other", "research only", True)
    assert opened.spec.generator_sha256 in card
    assert "7 **generated** images beside 13 real ones" in card
    (out / "data" / "train-00001.tar").unlink()
    assert not merged(store, data, out, tool="huggingface", license="research only", shard_size=9).already_complete
    merged(store, data, out, tool="csv", force=True)
    assert not (out / "data").exists()


def test_generated_images_alone_go_to_the_hub_without_the_data(store: Path, tmp_path: Path) -> None:
    made = export_merged(store, tool="huggingface", out=tmp_path / "out", license="mit", labels="pseudo")
    assert (made.real, made.generated) == (0, 49)
    assert [path.name for path in (tmp_path / "out" / "data").iterdir()] == ["train-00000.tar"]
    assert "no real ones" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
