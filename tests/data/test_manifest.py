from __future__ import annotations

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
        ("path,identity\na.jpg,\n", "line 2: a picture needs a path and an identity"),
        ("path,identity\na.jpg\n", "line 2: a picture needs a path and an identity"),
        ("path,identity\nsub/b, c.jpg,1\n", "line 2: more fields than columns"),
        ("path,identity,camera\na.jpg,1,left\n", "line 2: the camera 'left' is not a number"),
        ("path,identity,split\na.jpg,1,probe\n", "line 2: unknown split 'probe'"),
        ("path,identity,role\na.jpg,1,extra\n", "line 2: unknown role 'extra'"),
        ("path,identity\na.jpg,1\nd.jpg,1\na.jpg,2\n", "line 4: 'a.jpg' is already in the split train"),
        ("path,identity\nz.jpg,1\n", "line 2: there is no file 'z.jpg'"),
        ("path,identity\n", "recognised as manifest, but there is no picture"),
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
    with pytest.raises(DgaugError, match="exists already"):
        pack(data, out)
    assert out.read_text() == "mine"
    pack(data, out, force=True)
    assert open_data(out).splits == data.splits


def test_a_manifest_that_could_not_reach_its_pictures_is_refused(market: Path, tmp_path: Path) -> None:
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
