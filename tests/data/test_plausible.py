"""What is taken for identities: cameras, splits and kinds of images are refused or doubted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from tiny_run import RunCommand

from dgaug.data.check import check_data
from dgaug.data.layouts import open_data
from dgaug.data.plausible import doubts
from dgaug.data.records import IdentityData
from dgaug.errors import DgaugError
from dgaug.runs import Run

WriteTree = Callable[[Iterable[str]], Path]


def tree(*parts: str) -> Iterator[str]:
    """Paths of every choice from `a|b`-like parts."""
    first, *rest = parts
    for name in first.split("|"):
        yield from (f"{name}/{below}" for below in tree(*rest)) if rest else (name,)


def told(data: IdentityData) -> dict[str, list[tuple[str, int]]]:
    return {split: [(record.identity, record.camera) for record in records] for split, records in data.splits.items()}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            tree("cam_a|cam_b", "1_45.bmp|2_90.bmp"),
            r"'cam_a', 'cam_b'.*cameras; give --pattern .*identity>\[\^_/\]",
        ),
        (tree("train", "CAM01|Cam02", "anna|bert", "1.jpg"), r"like cameras; give --pattern '\^\(\?P<camera>"),
        (tree("Camera 1|Camera 2|Camera 3", "1.jpg|2.jpg"), "like cameras.*manifest.csv with the header path,identity"),
        (tree("train_images|Probe_Images|gallery_images", "1.jpg"), "named like splits"),
        (tree("anna|bert|BBox-Train", "1.jpg"), "named like splits"),
        (tree("train|test", "occluded_body_images|whole_body_images", "1|2", "1.jpg"), "like folders of images"),
        (tree("images", "1.jpg|2.jpg"), "like folders of images"),
        (tree("RGB|IR", "1.jpg|2.jpg"), "like kinds of images"),
        (tree("train|test", "A|B|C", "7|8", "x.jpg"), r"hold only folders \(A/7/\); give --pattern '\^\[\^/\]\+/"),
        (tree("train", "N|E|S|W|Z", "p1|p2|p3|p4|p5|p6", "x.jpg"), "hold only folders"),
    ],
)
def test_folders_that_are_no_identities_are_refused_with_a_way_out(
    write_tree: WriteTree, paths: Iterable[str], message: str
) -> None:
    root = write_tree(paths)
    with pytest.raises(DgaugError, match=message):
        open_data(root)
    assert open_data(root, layout="identity-folders").layout == "identity-folders", "asked for by name"


def test_the_pattern_that_is_advised_reads_the_folders(write_tree: WriteTree) -> None:
    root = write_tree(tree("train|query|gallery", "cam1|cam2", "anna|bert", "1.jpg"))
    with pytest.raises(DgaugError) as refused:
        open_data(root)
    pattern = str(refused.value).split("--pattern '")[1].split("'")[0]
    assert told(open_data(root, pattern=pattern))["query"] == [("anna", 1), ("bert", 1), ("anna", 2), ("bert", 2)]


@pytest.mark.parametrize(
    "paths",
    [
        tree("anna|bert", "cam1|cam2", "1.jpg"),
        tree("train", "7141|7142|7143|7144", "2193|2200", "x.jpg"),
        [f"train/{k}/{t}/{k}_C1_F0044.jpg" for k in (7140, 7141, 7142) for t in (1, 2, 3)],
        tree("camilla|cameron|trainor|testa|imogen", "1.jpg|2.jpg"),
        tree("anna|bert|test person", "1.jpg"),
    ],
)
def test_folders_of_people_are_read(write_tree: WriteTree, paths: Iterable[str]) -> None:
    root = write_tree([*paths, "anna/own.jpg"] if "anna/cam1/1.jpg" in (paths := list(paths)) else paths)
    assert open_data(root).layout == "identity-folders"


def test_identities_of_folders_only_are_doubted_unless_the_files_repeat_them(write_tree: WriteTree) -> None:
    tracks = [f"train/{k}/{t}/x.jpg" for k in (7140, 7141, 7142, 7143) for t in (1, 2)]
    assert ["folders that hold only folders (7140/1/)" in doubt for doubt in doubts(open_data(write_tree(tracks)))] == [
        True
    ]


def test_nearly_all_images_in_two_or_three_folders_are_doubted(write_tree: WriteTree) -> None:
    root = write_tree(tree("day|night", "1.jpg|2.jpg|3.jpg|4.jpg|5.jpg|6.jpg"))
    assert doubts(open_data(root)) == [
        "train: 100% of the 12 images show 2 identities: day (6), night (6); are these people, or cameras, kinds or "
        "leftovers?"
    ]
    write_tree(f"{name}/{k}.jpg" for name in ("anna", "bert") for k in range(3))
    assert doubts(open_data(root)) == []
    write_tree(f"{name}/{k}.jpg" for name in ("day",) for k in range(90))
    assert doubts(open_data(root))[0].startswith("train: 97% of the 102 images show 3 identities: day (90), night (6)")
    assert "97% of the 102 images" in "".join(check_data(open_data(root)).problems)


def test_an_identity_of_nobody_and_cameras_that_are_numbers_of_images_are_doubted(write_tree: WriteTree) -> None:
    names = [f"{k}.jpg" for k in range(12)]
    root = write_tree(names)
    rows = [f"{name},{'Unknown' if k % 3 else 'anna'},{k},train" for k, name in enumerate(names)]
    (root / "manifest.csv").write_text("\n".join(["path,identity,camera,split", *rows]))
    result = " ".join(doubts(open_data(root)))
    assert "8 images of the identity 'Unknown' count as one identity" in result
    assert "each of the 12 images has a camera of its own" in result


def test_split_folders_are_read_in_any_case_and_by_their_other_names(write_tree: WriteTree) -> None:
    root = write_tree(["Train/anna/1.jpg", "PROBE/bert/1.jpg", "Test/bert/2.jpg", "Val/cleo/1.jpg"])
    assert told(open_data(root)) == {
        "train": [("anna", -1)],
        "query": [("bert", -1)],
        "gallery": [("bert", -1)],
        "val": [("cleo", -1)],
    }
    with pytest.raises(DgaugError, match="Train and train both name the split train"):
        open_data(write_tree(["train/anna/1.jpg"]))


def test_published_folders_are_read_in_any_case(write_tree: WriteTree) -> None:
    root = write_tree(["Bounding_Box_Train/0001_c1s1_1_1.jpg", "Query/0002_c1s1_1_1.jpg"])
    assert told(open_data(root)) == {"train": [("0001", 1)], "query": [("0002", 1)]}


def test_images_named_by_the_rule_straight_in_split_folders_are_read(write_tree: WriteTree) -> None:
    root = write_tree(["Train/0001_c1s1_1_1.jpg", "Query/0002_c1s1_1_1.jpg", "Gallery/0002_c2s1_1_1.jpg"])
    data = open_data(write_tree(["Gallery/-1_c2s1_1_1.jpg"]))
    assert data.layout == "market1501"
    assert told(data)["query"] == [("0002", 1)]
    assert [record.role.value for record in data.splits["gallery"]] == ["junk", "identity"]
    with pytest.raises(DgaugError, match="no data set recognised"):
        open_data(write_tree(["Train/someone.jpg"]))
    assert root == data.root


@pytest.mark.parametrize("folder", ["image_train", "bounding_box_train", "anything"])
def test_images_that_are_only_numbers_need_a_manifest(write_tree: WriteTree, folder: str) -> None:
    root = write_tree([f"{folder}/{k:06d}.jpg" for k in range(3)])
    if folder == "anything":
        root = root / folder
    with pytest.raises(DgaugError, match=r"no pattern can .*manifest\.csv with the header path,identity,camera,split"):
        open_data(root)


def test_a_validation_split_is_read_as_one_and_used_by_nothing(write_tree: WriteTree) -> None:
    root = write_tree(["a.jpg", "b.jpg"])
    (root / "manifest.csv").write_text("path,identity,camera,split\na.jpg,anna,1,Validation\nb.jpg,anna,1,train\n")
    assert told(open_data(root)) == {"train": [("anna", 1)], "val": [("anna", 1)]}
    read = open_data(write_tree(["train/anna/1.jpg"]), pattern="(?P<identity>a)")
    assert list(read.splits) == ["train"]


def test_every_command_shows_what_it_read_before_anything_long_starts(
    write_tree: WriteTree, dgaug: RunCommand, tiny_run: Run
) -> None:
    root = write_tree(["train/anna/1.jpg", "train/bert/1.jpg", "query/cleo/1.jpg", "gallery/cleo/2.jpg"])
    line = (
        f"{root} (identity-folders): 2 images of 2 identities, no camera known; query: 1 image of 1 identity, no "
        "camera known; gallery: 1 image of 1 identity, no camera known"
    )
    assert line in dgaug("data", "check", root).err
    ended = dgaug("eval-reid", tiny_run.teacher, "--data", root)
    assert line in ended.err
    assert "all 1 gallery" in ended.error(), "before that"
