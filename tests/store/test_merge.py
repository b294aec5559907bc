"""Real and generated images in one data set, read back by the rules that each tool publishes."""

from __future__ import annotations

import csv
import errno
import inspect
import os
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from small_store import files_of, image_of, write_store

import dgaug
from dgaug.data.layouts import open_data
from dgaug.data.records import Role
from dgaug.errors import DgaugError, Interrupted
from dgaug.store import merge_images
from dgaug.store.merge import Merged, export_merged
from dgaug.store.merge_names import BOXMOT, MARKET, numbers_of
from dgaug.store.read import StoreDataset, open_store
from dgaug.store.sources import Sources

TRAIN = ("0002_c1s1_000451_03", "0002_c2s1_000452_01", "0002_c3s1_000453_01", "0007_c1s1_000010_01")
TRAIN += ("0007_c2s1_000011_01", "0010_c1s1_000012_01", "0010_c3s1_000013_01")
QUERY = ("0101_c1s1_000001_00", "0102_c2s1_000002_00")
GALLERY = ("0101_c2s1_000003_00", "0102_c1s1_000004_00", "-1_c1s1_000005_00", "0000_c2s1_000006_00")
FOLDERS = {"bounding_box_train": TRAIN, "query": QUERY, "bounding_box_test": GALLERY}


def write_data(root: Path, folders: Mapping[str, tuple[str, ...]] = FOLDERS, *, ending: str = ".jpg") -> Path:
    """A data set in Market-1501's layout; every image has other bytes."""
    for number, (folder, name) in enumerate((folder, name) for folder, names in folders.items() for name in names):
        path = root / folder / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image_of(number)).save(path)
    return root


def store_of(data: Path, path: Path, **settings: object) -> Path:
    """A store of all pairs of a data set's training images."""
    sources = Sources.of(open_data(data).splits["train"])
    return write_store(path, sources=sources, planned=len(sources) ** 2, **settings)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("merge") / "data")


@pytest.fixture(scope="module")
def store(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(data, tmp_path_factory.mktemp("stores") / "store")


def merged(store: Path, data: Path, out: Path, **options: Any) -> Merged:
    """An export that must be whole: its name, and nothing beside it."""
    made = export_merged(store, data, out=out, **options)
    assert not out.with_name(out.name + ".part").exists()
    return made


def market_split(folder: Path) -> list[tuple[Path, int, int]]:
    """Market-1501 as torchreid, fast-reid, TransReID, CLIP-ReID and boxmot read it: file, identity, camera from 0."""
    result = []
    for path in map(Path, sorted(glob(f"{folder}/*.jpg"))):
        # All but boxmot look for it in the whole path.
        match = re.search(r"([-\d]+)_c(\d)", str(path))
        assert match is not None
        identity, camera = int(match[1]), int(match[2])
        if identity != -1:
            assert 0 <= identity <= 1501
            assert 1 <= camera <= 6
            # The layumi baseline: a folder of the text before the first underscore; in its test, places in the name.
            assert path.name.split("_")[0] == match[1]
            assert (int(path.name[:4]), path.name.split("c")[1][0]) == (identity, match[2])
            result.append((path, identity, camera - 1))
    return result


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def assert_donors(
    out: Path, store: StoreDataset, data: Path, rows: list[dict[str, str]], *, of: str = "appearance"
) -> None:
    """Every generated image has the identity of its donor, the camera of its structure donor, and the store's bytes."""
    generated = [row for row in rows if row["generated"] == "1"]
    assert generated
    for row in generated:
        k = int(re.findall(r"\d{7,}", row["path"])[-1])
        item = store[k]
        assert row["identity"] == store.sources.identity_name[getattr(item, of)]
        assert row["camera"] == str(store.sources.camera[item.structure])
        for donor in ("appearance", "structure"):
            real = (out / row[donor]).read_bytes()
            assert real == (data / store.sources.path[getattr(item, donor)]).read_bytes()
        with Image.open(out / row["path"]) as image:
            assert np.abs(np.asarray(image).astype(int) - image_of(k)).mean() < 4


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
        ({"out": "photos"}, "found 'holiday.jpg' in"),
        ({"out": "file"}, "found the file or link"),
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


def test_a_real_file_with_the_name_of_a_generated_one_is_named(data: Path, tmp_path: Path) -> None:
    folders = {**FOLDERS, "bounding_box_train": (*TRAIN, "0002_c1s1_0000000_00")}
    own = write_data(tmp_path / "data", folders)
    store = store_of(own, tmp_path / "store")
    with pytest.raises(DgaugError, match=r"0002_c1s1_0000000_00\.jpg and image 0 of the store would both be"):
        export_merged(store, own, tool="market", out=tmp_path / "out", ratio=100)
    assert not list(tmp_path.glob("out*"))
    merged(store, own, tmp_path / "out", tool="csv", ratio=100)


def test_names_of_ones_own_become_names_that_readers_take(tmp_path: Path) -> None:
    folders = {"train/anna": ("a", "b"), "train/ben_c12": ("x", "y"), "query/cleo": ("q",), "gallery/cleo": ("g",)}
    own = write_data(tmp_path / "data", folders, ending=".png")
    store = store_of(own, tmp_path / "store")
    with pytest.raises(DgaugError, match="give --unknown-camera 1"):
        export_merged(store, own, tool="market", out=tmp_path / "out")
    made = merged(store, own, tmp_path / "out", tool="market", unknown_camera=4)
    assert any("counted from 1, because some are no number" in note for note in made.notes)
    assert any("c4, in the query c1" in note for note in made.notes)
    assert any("6 images that are no JPEG files" in note for note in made.notes)
    train = market_split(tmp_path / "out" / "bounding_box_train")
    assert Counter(identity for _, identity, _ in train) == {1: 4, 2: 4}
    query, gallery = (market_split(tmp_path / "out" / name) for name in ("query", "bounding_box_test"))
    assert query[0][1] == gallery[0][1] == 3
    assert query[0][2] != gallery[0][2]
    assert {row["identity"]: row["name"] for row in table_of(tmp_path / "out" / "identities.csv")} == {
        "0001": "anna",
        "0002": "ben_c12",
        "0003": "cleo",
    }


def test_one_person_has_one_text_in_all_names(tmp_path: Path) -> None:
    folders = {"bounding_box_train": ("2_c1_a", "2_c2_b", "7_c1_a"), "query": ("8_c1",), "bounding_box_test": ("8_c6",)}
    own = write_data(tmp_path / "data", folders)
    made = merged(store_of(own, tmp_path / "store"), own, tmp_path / "out", ratio=5)
    train = market_split(tmp_path / "out" / "bounding_box_train")
    assert {path.name.split("_")[0] for path, _, _ in train} == {"0002", "0007"}
    assert Counter(identity for _, identity, _ in train) == {2: 8, 7: 4}
    assert "training has 2 cameras, the highest number is c6: SIE_CAMERA" in made.notes[-1]


@pytest.mark.parametrize(
    ("out", "said"), [("exp-1_c2/out", "would take '-1_c2' in the path"), ("out[1]", "for a pattern, because of [")]
)
def test_a_folder_in_whose_path_readers_find_an_identity_is_refused(
    store: Path, data: Path, tmp_path: Path, out: str, said: str
) -> None:
    with pytest.raises(DgaugError, match=re.escape(said)):
        export_merged(store, data, out=tmp_path / out)
    merged(store, data, tmp_path / out, tool="csv")


def test_cameras_may_be_forgotten(store: Path, data: Path, tmp_path: Path) -> None:
    merged(store, data, tmp_path / "csv", tool="csv", cameras="none")
    assert {row["camera"] for row in table_of(tmp_path / "csv" / "manifest.csv")} == {""}
    merged(store, data, tmp_path / "out", tool="market", cameras="none", unknown_camera=1)
    assert {camera for _, _, camera in market_split(tmp_path / "out" / "bounding_box_train")} == {0}
    assert {camera for _, _, camera in market_split(tmp_path / "out" / "query")} == {1}


@pytest.mark.parametrize("identities", [("NA", "ben"), ("2", "002"), ("unknown", "ben")])
def test_identities_that_pandas_or_the_tool_takes_for_others_are_named(
    tmp_path: Path, identities: tuple[str, str]
) -> None:
    own = write_data(tmp_path / "data", {f"train/{name}": ("a", "b") for name in identities})
    store = store_of(own, tmp_path / "store")
    with pytest.raises(DgaugError, match=f"'{identities[0]}'"):
        export_merged(store, own, tool="wildlife", out=tmp_path / "out")
    merged(store, own, tmp_path / "out", tool="csv")
    assert {one.identity for one in open_data(tmp_path / "out").splits["train"]} == set(identities)


def test_numbers_are_kept_where_readers_take_them() -> None:
    def numbers(people: str, cameras: list[int], reader: Any = MARKET, **options: Any) -> Any:
        given = {"zero_is_nobody": False, "unknown_camera": None, **options}
        return numbers_of(people.split(), cameras, reader, **given)

    kept = numbers("2 0007 12", [1, 6])
    assert kept.identity == {"2": "0002", "0007": "0007", "12": "0012"}
    assert (kept.camera, kept.notes) == ({1: 1, 6: 6}, ())
    assert numbers("2 12345", [1]).identity == {"12345": "0001", "2": "0002"}
    assert numbers("2 12345", [1], BOXMOT).identity == {"12345": "12345", "2": "0002"}
    many = [str(name) for name in range(9_000, 11_000)]
    assert max(map(int, numbers(" ".join(many), [1]).identity.values())) == 2_000
    assert numbers(" ".join(many), [1], BOXMOT).identity["10999"] == "10999"
    assert "reads four digits, no more" in numbers(" ".join(map(str, range(1, 10_001))), [1]).notes[0]
    assert numbers("0 1", [1]).identity == {"0": "0000", "1": "0001"}
    assert numbers("0 1", [1], zero_is_nobody=True).identity == {"0": "0001", "1": "0002"}
    assert numbers("1", [0, 12]).camera == {0: 1, 12: 2}
    assert "accept 6; raise that limit there" in numbers("1", list(range(1, 9))).notes[0]
    assert numbers("1", list(range(1, 9)), BOXMOT).notes == ()
    for cameras, options, said in (
        (list(range(15)), {}, "15 cameras (the last is 14)"),
        ([1, -1], {}, "give --unknown-camera 2"),
        ([1, -1], {"unknown_camera": 1}, "found 1; taken: 1"),
        ([1, -1], {"unknown_camera": 12}, "from 1 to 9"),
    ):
        with pytest.raises(DgaugError, match=re.escape(said)):
            numbers("1", cameras, **options)


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

    def progress(title: str, done: int, total: int, figures: Mapping[str, float] | None = None) -> None:
        if title == "exporting" and done > 30:
            raise Interrupted(2)

    out = tmp_path / "out"
    with pytest.raises(Interrupted):
        export_merged(store, data, out=out, ratio=100, progress=progress)
    assert not out.exists()
    with pytest.raises(DgaugError, match=r"ratio 100, not 2\.0"):
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
    with pytest.raises(DgaugError, match="tool market, not csv"):
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
