from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dgaug.data.check import check_data, who_was_read
from dgaug.data.damage import usable_data
from dgaug.data.layouts import open_data
from dgaug.errors import DgaugError

WriteTree = Callable[[Iterable[str]], Path]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def problems(root: Path) -> list[str]:
    return check_data(open_data(root)).problems


def test_a_sound_data_set_has_counts_and_no_problems(market: Path) -> None:
    report = check_data(open_data(market))
    counts = {"junk": 0, "distractors": 0, "damaged": 0}
    assert json.loads(json.dumps(report.to_json())) == {
        "layout": "market1501",
        "splits": {
            "train": {"images": 4, "identities": 2, "cameras": 4, **counts},
            "query": {"images": 1, "identities": 1, "cameras": 1, **counts},
            "gallery": {"images": 3, "identities": 1, "cameras": 2, "junk": 1, "distractors": 1, "damaged": 0},
        },
        "problems": [],
    }
    assert not report.has_damage


def test_damaged_images_are_counted_and_named_with_the_reason(market: Path) -> None:
    cut(market / "bounding_box_train/0002_c1s1_000451_03.jpg")
    (market / "query/0001_c1s1_001051_00.jpg").write_bytes(b"")
    report = check_data(open_data(market))
    assert report.has_damage
    assert [report.splits[split].damaged for split in ("train", "query", "gallery")] == [1, 1, 0]
    assert report.splits["train"].images == 4
    assert any("0002_c1s1_000451_03.jpg: " in problem and "truncated" in problem for problem in report.problems)
    assert "query: damaged image query/0001_c1s1_001051_00.jpg: empty file" in report.problems


def test_progress_reaches_the_number_of_images(write_tree: WriteTree) -> None:
    seen: list[tuple[int, int]] = []
    check_data(
        open_data(write_tree(f"a/{k}.bmp" for k in range(300))),
        progress=lambda title, done, total, values=None: seen.append((done, total)),
    )
    assert seen[-1] == (300, 300)
    assert seen == sorted(seen)
    assert len(seen) > 1


def test_identities_with_one_image_and_unknown_cameras_are_named(write_tree: WriteTree) -> None:
    result = problems(write_tree(["anna/1.jpg", "bert/1.jpg", "bert/2.jpg"]))
    assert result == [
        "train: 1 identity with one image only, no positive pair: anna",
        "train: 3 of 3 images have an unknown camera: anna/1.jpg, bert/1.jpg, bert/2.jpg",
    ]


def test_a_query_needs_a_match_from_another_camera(market: Path, write_tree: WriteTree) -> None:
    write_tree(["query/0003_c1s1_1_1.jpg", "bounding_box_test/0003_c1s1_2_1.jpg"])
    assert problems(market) == [
        "query: 1 image without a match from another camera in the gallery: query/0003_c1s1_1_1.jpg"
    ]
    write_tree(["bounding_box_test/0003_c2s1_2_1.jpg"])
    assert problems(market) == []


def test_identities_of_both_train_and_test_are_named_except_in_msmt17(market: Path, write_tree: WriteTree) -> None:
    write_tree(["bounding_box_test/0002_c2s1_2_1.jpg"])
    assert problems(market) == ["gallery: 1 identity named as in train, a leak if they are the same people: 0002"]
    shutil.rmtree(market)
    names = [f"0000_00{k}_0{k}_0303morning_0008_0.jpg" for k in range(4)]
    folders = ("bounding_box_train", "bounding_box_train", "query", "bounding_box_test")
    assert problems(write_tree(map("/".join, zip(folders, names, strict=True)))) == []


def test_copies_across_splits_are_found(market: Path) -> None:
    shutil.copy(market / "query/0001_c1s1_001051_00.jpg", market / "bounding_box_test/0001_c3s1_000000_00.jpg")
    assert problems(market) == [
        "1 image in more than one split, byte by byte: "
        "query/0001_c1s1_001051_00.jpg = bounding_box_test/0001_c3s1_000000_00.jpg"
    ]


def test_empty_splits_and_unread_folders_are_named(market: Path, write_tree: WriteTree) -> None:
    shutil.rmtree(market / "query")
    (market / "query").mkdir()
    write_tree(["val/1.jpg"])
    assert problems(market) == [
        "query: no images",
        "val: a folder with images that belong to no split of this layout; they are not read",
    ]


def test_training_on_damaged_images_is_refused_with_the_remedy(market: Path) -> None:
    data = open_data(market)
    assert usable_data(data) == (data, [])
    cut(market / "bounding_box_train/0007_c3s3_077419_03.jpg")
    with pytest.raises(DgaugError, match=r"1 damaged image: .*0007_c3s3.*dgaug data check .*--set data\.damaged=skip"):
        usable_data(data)
    kept, dropped = usable_data(data, damaged="skip")
    assert [inspection.record.path for inspection in dropped] == ["bounding_box_train/0007_c3s3_077419_03.jpg"]
    assert [record.camera for record in kept.splits["train"]] == [1, 2, 6]
    assert kept.splits["gallery"] == data.splits["gallery"]


def test_only_the_splits_asked_for_are_decoded(market: Path) -> None:
    cut(market / "query/0001_c1s1_001051_00.jpg")
    data = open_data(market)
    assert usable_data(data) == (data, [])
    with pytest.raises(DgaugError, match="1 damaged image: query/"):
        usable_data(data, splits=("query", "gallery"))
    with pytest.raises(DgaugError, match="unknown policy"):
        usable_data(data, damaged="ignore")


def test_a_person_sees_who_was_read_and_what_it_is_enough_for(market: Path) -> None:
    data = open_data(market)
    assert who_was_read(data) == ["train: 2 images of each identity: 0002 (2), 0007 (2)"]
    pattern = open_data(market / "bounding_box_train", pattern="(?P<identity>.)")
    assert who_was_read(pattern) == [
        "train: 4 images of each identity: 0 (4)",
        "no query and gallery: enough to train and to synthesize, not to evaluate a re-id model; before training, "
        "dgaug data pack DIR --hold-out N writes a manifest with N identities there",
    ]
    shutil.rmtree(market / "query")
    assert who_was_read(open_data(market))[1:] == [
        "no query: enough to train and to synthesize, not to evaluate a re-id model"
    ]
