"""Names of files, people and cameras that the reader of a merged data set takes."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from merged_data import FOLDERS, TRAIN, market_split, merged, store_of, write_data
from small_store import table_of

from dgaug.data.layouts import open_data
from dgaug.errors import DgaugError
from dgaug.store.merge import export_merged
from dgaug.store.merge_names import BOXMOT, MARKET, numbers_of


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
