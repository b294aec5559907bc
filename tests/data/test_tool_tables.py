"""Data sets as boxmot, Open Metric Learning and wildlife-tools describe them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from dgaug.data.check import check_data
from dgaug.data.layouts import open_data
from dgaug.data.recorded import described
from dgaug.data.records import Role
from dgaug.errors import DgaugError
from dgaug.runs import Run

IMAGES = ("a/1.jpg", "a/2.jpg", "b/1.jpg", "q.jpg", "g.jpg", "n.jpg")
OML = """label,path,split,is_query,is_gallery,camera
4,a/1.jpg,train,,,1
4.0,a/2.jpg,train,,,2
17,b/1.jpg,train,,,
30,q.jpg,validation,True,False,1
30,g.jpg,validation,0,1,2
31,n.jpg,validation,1,1,2
"""
WILDLIFE = """image_id,identity,path,split,bbox
1,lukas,a/1.jpg,train,
2,lukas,a/2.jpg,train,
3,vojta,b/1.jpg,,
4,vojta,g.jpg,test,
5,unknown,n.jpg,test,
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(IMAGES):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 12), (40 * number, 0, 0)).save(path)
    return tmp_path


def test_a_table_of_oml_is_read_by_its_columns(root: Path) -> None:
    (root / "df.csv").write_text(OML, encoding="utf-8")
    for place in (root, root / "df.csv"):
        data = open_data(place)
        assert data.layout == "oml-csv"
        read = {split: [(one.path, one.identity, one.camera) for one in data.splits[split]] for split in data.splits}
        assert read == {
            "train": [("a/1.jpg", "4", 1), ("a/2.jpg", "4", 2), ("b/1.jpg", "17", -1)],
            "query": [("q.jpg", "30", 1)],
            "gallery": [("g.jpg", "30", 2)],
            "val": [("n.jpg", "31", 2)],
        }
        assert "1 validation images are query and gallery at once" in data.notes[0]
    assert check_data(data).layout == "oml-csv"


def test_a_table_of_wildlife_datasets_is_read_by_its_columns(root: Path) -> None:
    (root / "metadata.csv").write_text(WILDLIFE, encoding="utf-8")
    data = open_data(root)
    assert data.layout == "wildlife-csv"
    assert [(one.path, one.identity) for one in data.splits["train"]] == [
        ("a/1.jpg", "lukas"),
        ("a/2.jpg", "lukas"),
        ("b/1.jpg", "vojta"),
    ]
    assert [(one.identity, one.role) for one in data.splits["gallery"]] == [
        ("vojta", Role.IDENTITY),
        ("unknown", Role.JUNK),
    ]


def test_a_manifest_with_a_column_more_stays_a_manifest(root: Path) -> None:
    (root / "manifest.csv").write_text("image_id,identity,path,role\n1,x,a/1.jpg,distractor\n", encoding="utf-8")
    data = open_data(root)
    assert (data.layout, data.splits["train"][0].role) == ("manifest", Role.DISTRACTOR)


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("df.csv", "4,a/1.jpg", "anna,a/1.jpg", "line 2: expected an integer label, found 'anna'"),
        ("df.csv", "a/2.jpg,train", "a/2.jpg,test", "line 3: unknown split 'test'; known are train and validation"),
        ("df.csv", "0,1,2", "0,0,2", "line 6: a validation image is query or gallery"),
        ("df.csv", "True,False", "maybe,False", "line 5: is_query is 'maybe'; expected True"),
        ("df.csv", "a/1.jpg", "a\0/1.jpg", "line 2: there is no file"),
        ("df.csv", "a/1.jpg", "a/9.jpg", "line 2: there is no file 'a/9.jpg'"),
        ("metadata.csv", "train,\n2", 'train,"[0, 1, 2, 3]"\n2', "line 2: bbox asks for a part of the image"),
        ("metadata.csv", "test", "holdout", "line 5: unknown split 'holdout'"),
        ("metadata.csv", "1,lukas", "1,", "line 2: an image needs a path and an identity"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(root: Path, name: str, before: str, after: str, said: str) -> None:
    table = {"df.csv": OML, "metadata.csv": WILDLIFE}[name]
    assert before in table
    (root / name).write_text(table.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(DgaugError, match=name) as refused:
        open_data(root)
    assert said in str(refused.value)


def write_boxmot(root: Path, **content: object) -> Path:
    for folder, name in (("t", "0002_c1s1_000001_00"), ("q", "0003_c1s1_000001_00"), ("g", "0003_c2s1_000001_00")):
        (root / "set" / folder).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 12)).save(root / "set" / folder / f"{name}.jpg")
    (root / "yaml").mkdir(exist_ok=True)
    told = {"dataset": "mine", "path": "../set", "train": "t", "query": "q", "gallery": "g", **content}
    path = root / "yaml" / "mine.yaml"
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


def test_a_yaml_of_boxmot_names_folder_and_splits(tmp_path: Path) -> None:
    data = open_data(write_boxmot(tmp_path, download="raise SystemExit"))
    assert data.layout == "boxmot-yaml"
    assert {split: (one.identity, one.camera) for split, (one,) in data.splits.items()} == {
        "train": ("0002", 1),
        "query": ("0003", 1),
        "gallery": ("0003", 2),
    }
    # A run finds the images again, although they do not lie beside the YAML.
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    (run.folder / "environment.json").write_text(json.dumps({"data": described(data)}), encoding="utf-8")
    assert (run.data_root(), run.data_folder()) == (tmp_path / "yaml" / "mine.yaml", tmp_path / "set")
    assert open_data(run.data_root()) == data


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"path": "../gone", "download": "print()"}, "which is no folder; its download script is not run here"),
        ({"train": "gone"}, "train is 'gone', but there is no such folder"),
        ({"query": "../yaml"}, "query is '../yaml', which leaves the folder"),
        ({"path": "d" * 300}, "which is no folder"),
        ({"gallery": "d/" * 3000}, "but there is no such folder"),
        ({"gallery": 3}, "gallery is 3; expected the name of a folder"),
    ],
)
def test_a_yaml_that_cannot_be_read_says_why(tmp_path: Path, content: dict[str, object], said: str) -> None:
    path = write_boxmot(tmp_path, **content)
    with pytest.raises(DgaugError, match=r"mine\.yaml") as refused:
        open_data(path)
    assert said in str(refused.value)


def test_other_files_are_no_data_set(tmp_path: Path) -> None:
    for name, text in (("a.yaml", "name: tiny"), ("b.yaml", "["), ("c.txt", "")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(DgaugError, match=name):
            open_data(tmp_path / name)
