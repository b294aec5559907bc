from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dgaug.data.layouts import open_data
from dgaug.data.manifest import pack
from dgaug.data.records import Record, Role
from dgaug.errors import DgaugError

WriteTree = Callable[[Iterable[str]], Path]


@pytest.fixture
def folder(write_tree: WriteTree) -> Path:
    return write_tree(["a.jpg", "sub/b, c.jpg", "d.jpg"])


def write(folder: Path, text: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_path_and_identity_are_enough(folder: Path) -> None:
    path = write(folder, "identity,path\n7,d.jpg\n7,a.jpg\n")
    data = open_data(path)
    assert (data.layout, data.root) == ("manifest", folder)
    assert data.splits == {"train": [Record("a.jpg", "7"), Record("d.jpg", "7")]}
    assert open_data(folder) == data


def test_all_columns_are_read(folder: Path) -> None:
    text = "\ufeffpath,identity,camera,split,role,note\n"
    text += 'a.jpg,x,3,query,,left alone\n"./sub/../sub/b, c.jpg",x,,test,,\nd.jpg,-1,4,gallery,junk,\n'
    assert open_data(write(folder, text)).splits == {
        "query": [Record("a.jpg", "x", 3)],
        "gallery": [Record("d.jpg", "-1", 4, Role.JUNK), Record("sub/b, c.jpg", "x")],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column 'path'.*an empty file"),
        ("path,camera\n", "line 1: no column 'identity'"),
        ("path,identity,cameras\n", "unknown column 'cameras'; did you mean 'camera'"),
        ("path,identity,path\n", "'path' is there twice"),
        ("path,identity\na.jpg,1\n/a.jpg,1\n", "line 3: '/a.jpg' leaves"),
        ("path,identity\n../set/a.jpg,1\n", "line 2: '../set/a.jpg' leaves"),
        ("path,identity\nsub/../../a.jpg,1\n", "line 2: .* leaves"),
        ("path,identity\nC:/a.jpg,1\n", "line 2: 'C:/a.jpg' leaves"),
        ("path,identity\na.jpg,\n", "line 2: an image needs a path and an identity"),
        ("path,identity\na.jpg\n", "line 2: an image needs a path and an identity"),
        ("path,identity\nsub/b, c.jpg,1\n", "line 2: more fields than columns"),
        ("path,identity,camera\na.jpg,1,3\nd.jpg,1,-5\n", "line 3: the camera '-5' is not a number"),
        ("path,identity,split\na.jpg,1,left\n", "line 2: unknown split 'left'"),
        ("path,identity,role\na.jpg,1,extra\n", "line 2: unknown role 'extra'"),
        ("path,identity\na.jpg,1\nd.jpg,1\na.jpg,2\n", "line 4: 'a.jpg' is already in the split train"),
        ("path,identity\nz.jpg,1\n", "line 2: there is no file 'z.jpg'"),
        ("path,identity\n", "recognised as manifest, but there is no image"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        open_data(write(folder, text))


def test_a_file_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "manifest.csv").write_bytes(b"path,identity\n\xff\xfe.jpg,1\n")
    with pytest.raises(DgaugError, match="not a CSV file in UTF-8"):
        open_data(folder)


def test_a_packed_data_set_reads_back_the_same(market: Path) -> None:
    original = open_data(market)
    pack(original, market / "all.csv")
    assert open_data(market / "all.csv").splits == original.splits
    assert sorted(path.name for path in market.iterdir() if path.is_file()) == ["all.csv"]


def test_a_manifest_above_the_data_names_the_folders(market: Path) -> None:
    pack(open_data(market), market.parent / "all.csv")
    data = open_data(market.parent / "all.csv")
    assert data.splits["query"] == [Record("set/query/0001_c1s1_001051_00.jpg", "0001", 1)]


def test_a_linked_data_folder_is_packed_through_its_link(market: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/link").symlink_to(market)
    pack(open_data(tmp_path / "here/link"), tmp_path / "here/all.csv")
    assert open_data(tmp_path / "here/all.csv").splits["query"][0].path == "link/query/0001_c1s1_001051_00.jpg"


def test_names_with_commas_quotes_and_line_breaks_survive(write_tree: WriteTree) -> None:
    root = write_tree(['a"b/1,2.jpg', "a\nb/3.jpg"])
    pack(open_data(root), root / "manifest.csv")
    packed = open_data(root)
    assert packed.layout == "manifest"
    assert [record.path for record in packed.splits["train"]] == ["a\nb/3.jpg", 'a"b/1,2.jpg']


def test_an_existing_manifest_is_kept_without_force(market: Path) -> None:
    data, out = open_data(market), market / "all.csv"
    out.write_text("mine")
    with pytest.raises(DgaugError, match="is already there"):
        pack(data, out)
    assert out.read_text() == "mine"
    pack(data, out, force=True)
    assert open_data(out).splits == data.splits


def test_a_manifest_that_could_not_reach_its_images_is_refused(market: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with pytest.raises(DgaugError, match=r"do not lie below the manifest's folder; write it to .*set/manifest\.csv"):
        pack(open_data(market), elsewhere / "all.csv")
    assert not list(elsewhere.iterdir())
    with pytest.raises(DgaugError, match=r"ends in \.csv"):
        pack(open_data(market), market / "all.txt")


def test_a_manifest_that_cannot_be_written_is_said_so(market: Path) -> None:
    (market / "all.csv").mkdir()
    with pytest.raises(DgaugError, match=r"all\.csv: cannot be written"):
        pack(open_data(market), market / "all.csv", force=True)


def cameras_of(folder: Path, *texts: str) -> list[int]:
    rows = [f"{name},1,{text}" for name, text in zip(("a.jpg", "d.jpg", '"sub/b, c.jpg"'), texts, strict=True)]
    return [
        record.camera for record in open_data(write(folder, "path,identity,camera\n" + "\n".join(rows))).splits["train"]
    ]


@pytest.mark.parametrize(
    ("texts", "numbers", "note"),
    [
        (("1.0", "2.", "007"), [1, 2, 7], ""),
        (("nan", "", "None"), [-1, -1, -1], ""),
        (("-1.0", " 3 ", "0"), [-1, 3, 0], ""),
        (("north door", "lift", "nan"), [2, 1, -1], "1 is 'lift', 2 is 'north door'"),
        (("10", "2", "east"), [2, 1, 3], "1 is 2, 2 is 10, 3 is 'east'"),
        (("20240101000002", "20240101000000", "20240101000002"), [2, 1, 2], "1 is 20240101000000"),
        (("1" * 30, "2", "2"), [2, 1, 1], "2 is 1111"),
        (("Zoe\u0301", "Zo\u00e9", "lift"), [1, 1, 2], "1 is 'Zo\u00e9', 2 is 'lift'"),
    ],
)
def test_cameras_are_numbers_or_numbered_in_order_and_said_so(
    folder: Path, texts: tuple[str, ...], numbers: list[int], note: str
) -> None:
    assert cameras_of(folder, *texts) == numbers
    notes = open_data(folder).notes
    assert ([note in one for one in notes] == [True]) if note else not notes


def test_an_image_is_found_however_its_path_is_written(folder: Path) -> None:
    (folder / "de\u0301j\u00e0.jpg").write_bytes(b"x")
    (folder / "real\\name.jpg").write_bytes(b"x")
    for written, path in {
        "sub\\b, c.jpg": "sub/b, c.jpg",
        ".\\a.jpg": "a.jpg",
        str(folder / "sub" / "b, c.jpg"): "sub/b, c.jpg",
        str(folder / "sub" / ".." / "a.jpg"): "a.jpg",
        "d\u00e9j\u00e0.jpg": "de\u0301j\u00e0.jpg",
        "de\u0301ja\u0300.jpg": "de\u0301j\u00e0.jpg",
        "real\\name.jpg": "real\\name.jpg",
    }.items():
        data = open_data(write(folder, f'path,identity\n"{written}",1\n'))
        assert [record.path for record in data.splits["train"]] == [path], written


def test_an_absolute_path_through_a_link_is_inside_too(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    write(folder, f"path,identity\n{folder}/a.jpg,1\n{tmp_path}/link/d.jpg,1\n")
    assert [record.path for record in open_data(tmp_path / "link").splits["train"]] == ["a.jpg", "d.jpg"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("D:\\data\\a.jpg", "line 3: .* leaves the manifest's folder; give paths relative to it"),
        ("..\\set\\a.jpg", "line 3: .* leaves"),
        ("\\\\host\\share\\a.jpg", "line 3: .* leaves"),
        ("/etc/a.jpg", "line 3: .* leaves"),
        ("sub/b, c", r"line 3: there is no file .*; did you mean 'sub/b, c\.jpg'"),
        (".\\d.jpg", r"line 3: 'd\.jpg' is already in the split train; name each image once"),
    ],
)
def test_a_path_that_cannot_be_meant_is_named_by_its_row(folder: Path, written: str, message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        open_data(write(folder, f'path,identity\nd.jpg,1\n"{written}",1\n'))


def test_one_file_named_in_two_forms_is_named_twice(folder: Path) -> None:
    (folder / "\u00e9.jpg").write_bytes(b"x")
    with pytest.raises(DgaugError, match=r"line 3: .* is already in the split train"):
        open_data(write(folder, "path,identity\n\u00e9.jpg,1\ne\u0301.jpg,1\n"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["path,identity,camera", "Path, Identity,CAMERA", '"path","identity","camera"'])
def test_the_header_may_be_written_as_spreadsheets_do(folder: Path, header: str, delimiter: str) -> None:
    text = f"{header}\nd.jpg,x,3\n".replace(",", delimiter)
    assert open_data(write(folder, text)).splits == {"train": [Record("d.jpg", "x", 3)]}


def test_one_identity_in_two_forms_of_unicode_is_one(folder: Path, write_tree: WriteTree) -> None:
    write(folder, "path,identity\na.jpg,Zo\u00e9\nd.jpg,Zoe\u0301\n")
    data = open_data(folder)
    assert {record.identity for record in data.splits["train"]} == {"Zo\u00e9"}
    assert "two forms of Unicode: 'Zo\u00e9'" in data.notes[0]
    (folder / "manifest.csv").unlink()
    shutil.rmtree(folder)
    root = write_tree(["Zo\u00e9/1.jpg", "Zoe\u0301/2.jpg", "e\u0301a/1.jpg"])
    assert [record.identity for record in open_data(root).splits["train"]] == ["Zo\u00e9", "Zo\u00e9", "e\u0301a"]
