from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dgaug.data.layouts import open_data
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role, class_names
from dgaug.errors import DgaugError

WriteTree = Callable[[Iterable[str]], Path]


def told(data: IdentityData, split: str) -> list[tuple[str, int]]:
    return [(record.identity, record.camera) for record in data.splits[split]]


def roles(data: IdentityData, split: str) -> dict[str, Role]:
    return {record.identity: record.role for record in data.splits[split]}


def test_market_is_read_with_cameras_junk_and_distractors(market: Path) -> None:
    data = open_data(market)
    assert data.layout == "market1501"
    assert data.splits["train"][0] == Record("bounding_box_train/0002_c1s1_000451_03.jpg", "0002", 1)
    assert told(data, "train") == [("0002", 1), ("0002", 2), ("0007", 3), ("0007", 6)]
    assert told(data, "query") == [("0001", 1)]
    assert roles(data, "gallery") == {"-1": Role.JUNK, "0000": Role.DISTRACTOR, "0001": Role.IDENTITY}
    assert class_names(data.splits["train"]) == ["0002", "0007"]
    assert all(data.image_path(record).is_file() for records in data.splits.values() for record in records)


def test_a_data_set_one_folder_down_is_found(market: Path) -> None:
    wrapper = market.parent / "wrapper"
    wrapper.mkdir()
    market.rename(wrapper / "Market-1501-v15.09.15")
    data = open_data(wrapper)
    assert data.root == wrapper / "Market-1501-v15.09.15"
    assert data.splits["query"][0].path == "query/0001_c1s1_001051_00.jpg"


def test_two_data_sets_one_folder_down_are_refused_by_name(write_tree: WriteTree) -> None:
    root = write_tree(["a/image_train/0001_c001_1_0.jpg", "b/bounding_box_train/0001_c1s1_1_0.jpg"])
    with pytest.raises(DgaugError, match=r"several data sets.*set/a, .*set/b"):
        open_data(root)


def test_multi_query_and_png_are_read_where_they_are(write_tree: WriteTree) -> None:
    root = write_tree(
        ["bounding_box_train/0002_c1s1_1_1.PNG", "gt_bbox/0001_c1s1_1_1.png", "gt_bbox/0001_c4s1_1_1.png"]
    )
    assert told(open_data(root), "multi-query") == [("0001", 1), ("0001", 4)]
    assert told(open_data(root), "train") == [("0002", 1)]


def test_duke_is_told_apart_from_market_by_its_names(write_tree: WriteTree) -> None:
    root = write_tree(
        [
            "bounding_box_train/0005_c2_f0046985.jpg",
            "query/0007_c8_f0000001.jpg",
            "bounding_box_test/-1_c3_f0046986.jpg",
        ]
    )
    data = open_data(root)
    assert data.layout == "dukemtmc-reid"
    assert told(data, "train") == [("0005", 2)]
    assert told(data, "query") == [("0007", 8)]
    assert roles(data, "gallery") == {"-1": Role.JUNK}


def test_veri_cameras_have_three_digits_and_no_roles(write_tree: WriteTree) -> None:
    root = write_tree(
        [
            "image_train/0001_c001_00016450_0.jpg",
            "image_query/0002_c020_00030600_0.jpg",
            "image_test/0000_c012_00030600_0.jpg",
        ]
    )
    data = open_data(root)
    assert data.layout == "veri776"
    assert [told(data, split) for split in ("train", "query", "gallery")] == [
        [("0001", 1)],
        [("0002", 20)],
        [("0000", 12)],
    ]
    assert roles(data, "gallery") == {"0000": Role.IDENTITY}


@pytest.mark.parametrize(("train", "test"), [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_follows_its_lists(write_tree: WriteTree, train: str, test: str) -> None:
    lists = {
        "list_train.txt": ["0000/0000_000_01_0303morning_0008_0.jpg 0"],
        "list_val.txt": ["0000/0000_001_15_0303noon_0015_0.jpg 0", "0001/0001_000_03_0303noon_0015_0.jpg 1"],
        "list_query.txt": ["0000/0000_000_05_0303morning_0008_0.jpg 0"],
        "list_gallery.txt": ["0000/0000_002_06_0303morning_0008_0.jpg 0"],
    }
    folders = dict(zip(lists, (train, train, test, test), strict=True))
    root = write_tree(f"{folders[name]}/{line.split()[0]}" for name, lines in lists.items() for line in lines)
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")
    data = open_data(root)
    assert data.layout == "msmt17"
    assert told(data, "train") == [("0000", 1), ("0000", 15), ("0001", 3)]
    assert told(data, "query") == [("0000", 5)]
    assert roles(data, "gallery") == {"0000": Role.IDENTITY}
    assert data.image_path(data.splits["gallery"][0]).is_file()


@pytest.mark.parametrize("line", ["0000/0000_000_01_0303morning_0008_0.jpg", "../x_c1_1.jpg 0", "/x_c1_1.jpg 0"])
def test_a_wrong_line_in_a_list_is_named_by_its_number(write_tree: WriteTree, line: str) -> None:
    root = write_tree(["train/0000/0000_000_01_0303morning_0008_0.jpg"])
    (root / "list_train.txt").write_text(f"0000/0000_000_01_0303morning_0008_0.jpg 0\n{line}\n")
    with pytest.raises(DgaugError, match=r"list_train\.txt, line 2"):
        open_data(root)


def test_msmt17_in_market_folders_keeps_person_0000(write_tree: WriteTree) -> None:
    root = write_tree(
        ["bounding_box_train/0367_010_10_0303noon_0606_2.jpg", "bounding_box_test/0000_002_06_0303morning_0008_0.jpg"]
    )
    data = open_data(root)
    assert data.layout == "msmt17"
    assert told(data, "train") == [("0367", 10)]
    assert roles(data, "gallery") == {"0000": Role.IDENTITY}


def test_an_identity_that_is_asked_for_is_no_distractor(write_tree: WriteTree) -> None:
    root = write_tree(
        ["bounding_box_train/0001_c15_0030.jpg", "query/0000_c2_0001.jpg", "bounding_box_test/0000_c3_0002.jpg"]
    )
    data = open_data(root)
    assert told(data, "train") == [("0001", 15)]
    assert roles(data, "gallery") == {"0000": Role.IDENTITY}


def test_cuhk03_takes_the_detected_boxes_unless_pointed_at_the_labeled(write_tree: WriteTree) -> None:
    root = write_tree(
        f"{version}/bounding_box_train/0001_c{k}_1.png" for version in ("labeled", "detected") for k in (1, 2)
    )
    detected, labeled = open_data(root), open_data(root / "labeled")
    assert (detected.layout, detected.root) == ("cuhk03-np", root / "detected")
    assert (labeled.layout, labeled.root) == ("cuhk03-np", root / "labeled")
    assert told(detected, "train") == [("0001", 1), ("0001", 2)]


def test_dgnet_folders_take_identities_from_folders_and_cameras_from_names(write_tree: WriteTree) -> None:
    root = write_tree(
        [
            "train_all/0002/0002_c1s1_000451_03.jpg",
            "train_all/0007/0007_000_12_0303noon_0606_2.jpg",
            "train/0002/0002_c1s1_000451_03.jpg",
            "query/0001/0001_c4s1_001051_00.jpg",
            "gallery/-1/-1_c1s1_000401_03.jpg",
            "gallery/0000/0000_c1s1_000401_03.jpg",
            "multi-query/0001/0001_c4s1_001051_00.jpg",
        ]
    )
    data = open_data(root)
    assert data.layout == "dgnet-folders"
    assert told(data, "train") == [("0002", 1), ("0007", 12)]
    assert roles(data, "gallery") == {"-1": Role.JUNK, "0000": Role.DISTRACTOR}
    assert told(data, "multi-query") == [("0001", 4)]


def test_one_folder_per_identity_with_any_names_is_a_training_split(write_tree: WriteTree) -> None:
    root = write_tree(["anna/IMG 1.jpeg", "anna/x_c3po.WEBP", "bert/ü.bmp", "bert/night/2.tif"])
    data = open_data(root)
    assert (data.layout, list(data.splits)) == ("identity-folders", ["train"])
    assert told(data, "train") == [("anna", -1), ("anna", -1), ("bert", -1), ("bert", -1)]


@pytest.mark.parametrize("gallery", ["gallery", "test"])
def test_split_folders_of_identity_folders_have_no_roles(write_tree: WriteTree, gallery: str) -> None:
    root = write_tree(["train/0/day/a.jpg", "query/7/b.jpg", f"{gallery}/0000/c.jpg", f"{gallery}/7/7_c2_1.jpg"])
    data = open_data(root)
    assert data.layout == "identity-folders"
    assert {split: told(data, split) for split in data.splits} == {
        "train": [("0", -1)],
        "query": [("7", -1)],
        "gallery": [("0000", -1), ("7", 2)],
    }
    assert set(roles(data, "gallery").values()) == {Role.IDENTITY}


def test_records_are_in_plain_string_order_of_their_paths(write_tree: WriteTree) -> None:
    root = write_tree(["10/a.jpg", "2/a.jpg", "2-b/a.jpg", "2/B.jpg", "2/a/c.jpg"])
    paths = [record.path for record in open_data(root).splits["train"]]
    assert paths == sorted(paths)
    assert len(paths) == 5


def test_what_is_no_image_is_left_out(write_tree: WriteTree) -> None:
    root = write_tree(["a/1.jpg", "a/.hidden.jpg", "__MACOSX/a/1.jpg", ".cache/a/1.jpg"])
    (root / "a/Thumbs.db").write_bytes(b"x")
    (root / "readme.txt").write_text("x")
    assert [record.path for record in open_data(root).splits["train"]] == ["a/1.jpg"]


def test_linked_folders_are_read_and_loops_end(write_tree: WriteTree) -> None:
    root = write_tree(["a/1.jpg", "b/2.jpg"])
    (root / "a/loop").symlink_to(root / "a")
    (root / "a/up").symlink_to(root)
    (root / "c").symlink_to(root / "b")
    assert told(open_data(root), "train")[-1] == ("c", -1)
    paths = [record.path for record in open_data(root).splits["train"]]
    assert "c/2.jpg" in paths
    assert "a/loop/1.jpg" not in paths


def test_camera_policies(market: Path, write_tree: WriteTree) -> None:
    without = open_data(market, cameras="none")
    assert {record.camera for records in without.splits.values() for record in records} == {UNKNOWN_CAMERA}
    assert open_data(market, cameras="required") == open_data(market)
    write_tree(["bounding_box_train/0009_unknown.jpg"])
    assert open_data(market).splits["train"][-1].camera == UNKNOWN_CAMERA
    with pytest.raises(DgaugError, match=r"1 images have no camera.*0009_unknown\.jpg"):
        open_data(market, cameras="required")
    with pytest.raises(DgaugError, match="unknown camera policy 'file'"):
        open_data(market, cameras="file")


def test_a_layout_asked_for_by_name_is_the_only_one_tried(market: Path) -> None:
    assert open_data(market, layout="market1501").layout == "market1501"
    with pytest.raises(DgaugError, match="looked for the layout veri776"):
        open_data(market, layout="veri776")
    with pytest.raises(DgaugError, match="unknown layout 'market'"):
        open_data(market, layout="market")


def test_nothing_to_read_is_said_clearly(tmp_path: Path, write_tree: WriteTree) -> None:
    with pytest.raises(DgaugError, match="no such folder"):
        open_data(tmp_path / "nowhere")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DgaugError, match="found no image; unpack"):
        open_data(empty)
    (empty / "query.tar").write_bytes(b"x")
    with pytest.raises(DgaugError, match=r"the files query\.tar"):
        open_data(empty)
    with pytest.raises(DgaugError, match="another file"):
        open_data(empty / "query.tar")
    (empty / "bounding_box_train").mkdir()
    with pytest.raises(DgaugError, match="recognised as market1501, but there is no image"):
        open_data(empty)


def test_an_unknown_arrangement_is_described(write_tree: WriteTree) -> None:
    flat = write_tree(["one.jpg", "two.jpg"])
    with pytest.raises(DgaugError, match=r"looked for bounding_box_train.*2 images, the first 'one\.jpg'.*--pattern"):
        open_data(flat)


def test_a_split_folder_of_flat_images_is_not_taken_for_an_identity(write_tree: WriteTree) -> None:
    with pytest.raises(DgaugError, match=r"no data set recognised.*the folders test, train"):
        open_data(write_tree(["train/1.jpg", "test/2.jpg"]))


def test_pointing_at_a_split_names_the_parent(market: Path) -> None:
    with pytest.raises(DgaugError, match="give the folder that holds bounding_box_train"):
        open_data(market / "bounding_box_train")


def test_a_market_name_without_identity_is_refused(write_tree: WriteTree) -> None:
    with pytest.raises(DgaugError, match=r"no identity in the file name 'photo\.jpg'.*--pattern"):
        open_data(write_tree(["bounding_box_train/0001_c1s1_1_1.jpg", "bounding_box_train/photo.jpg"]))


def test_an_image_outside_the_identity_folders_is_refused(write_tree: WriteTree) -> None:
    with pytest.raises(DgaugError, match=r"'stray\.jpg' lies in no identity's folder"):
        open_data(write_tree(["a/1.jpg", "stray.jpg"]))


def test_a_file_name_that_is_not_utf8_is_refused(write_tree: WriteTree) -> None:
    root = write_tree(["a/1.jpg"])
    with open(os.fsencode(root / "a") + b"/\xff.jpg", "wb") as file:
        file.write(b"x")
    with pytest.raises(DgaugError, match="not valid UTF-8"):
        open_data(root)
