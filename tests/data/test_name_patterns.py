from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dgaug.data.layouts import open_data
from dgaug.data.records import Record, Role
from dgaug.errors import DgaugError

WriteTree = Callable[[Iterable[str]], Path]


def test_a_flat_folder_is_read_by_a_pattern(write_tree: WriteTree) -> None:
    root = write_tree(["dog-rex_cam12_1.jpg", "dog-tim_cam3_1.png"])
    data = open_data(root, pattern=r"^dog-(?P<identity>[a-z]+)_cam(?P<camera>\d+)_")
    assert data.layout == "pattern"
    assert data.splits == {"train": [Record("dog-rex_cam12_1.jpg", "rex", 12), Record("dog-tim_cam3_1.png", "tim", 3)]}


def test_the_pattern_sees_the_path_below_the_split_folder(write_tree: WriteTree) -> None:
    root = write_tree(["train/cam1/7.jpg", "query/cam2/7.jpg", "test/cam3/7.jpg"])
    data = open_data(root, pattern=r"^cam(?P<camera>\d+)/(?P<identity>\d+)\.jpg$")
    assert {split: [(r.path, r.identity, r.camera) for r in records] for split, records in data.splits.items()} == {
        "train": [("train/cam1/7.jpg", "7", 1)],
        "query": [("query/cam2/7.jpg", "7", 2)],
        "gallery": [("test/cam3/7.jpg", "7", 3)],
    }


def test_a_split_group_reads_the_path_below_the_root(write_tree: WriteTree) -> None:
    root = write_tree(["part1/a1-train.jpg", "part2/a2-query.jpg", "part2/a2-test.jpg"])
    data = open_data(root, pattern=r"/(?P<identity>\w+)-(?P<split>\w+)\.jpg$")
    assert {split: [r.path for r in records] for split, records in data.splits.items()} == {
        "train": ["part1/a1-train.jpg"],
        "query": ["part2/a2-query.jpg"],
        "gallery": ["part2/a2-test.jpg"],
    }
    with pytest.raises(DgaugError, match="finds the split 'a1'"):
        open_data(root, pattern=r"(?P<split>a\d)-(?P<identity>\w+)")


def test_market_folders_keep_their_junk_under_a_pattern(market: Path) -> None:
    data = open_data(market, pattern=r"^(?P<identity>-?\d+)_c(?P<camera>\d)")
    assert data.splits == open_data(market).splits
    assert data.splits["gallery"][0].role is Role.JUNK


def test_an_optional_camera_may_be_missing(write_tree: WriteTree) -> None:
    root = write_tree(["1.jpg", "2_c5.jpg"])
    data = open_data(root, pattern=r"^(?P<identity>\d+)(?:_c(?P<camera>\d+))?\.")
    assert [record.camera for record in data.splits["train"]] == [-1, 5]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?P<identity>\d+", "not a regular expression"),
        (r"(\d+)", "no group named identity"),
        (r"(?P<identity>\d+)(?P<cam>\d)", "the group 'cam'"),
        (r"^(?P<identity>\d+)_", r"1 of 2 images match .*'x\.jpg' does not"),
        (r"^(?P<identity>\d+)#", r"0 of 2 images match .*'1_a\.jpg' does not"),
        (r"(?P<identity>q*)", "an empty identity"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused(write_tree: WriteTree, pattern: str, message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        open_data(write_tree(["1_a.jpg", "x.jpg"]), pattern=pattern)


def test_a_pattern_and_a_layout_exclude_each_other(market: Path) -> None:
    with pytest.raises(DgaugError, match="drop the pattern or the layout"):
        open_data(market, layout="market1501", pattern=r"(?P<identity>\d+)")
