"""Manifests, lists of pairs and patterns for names that nobody meant."""

from __future__ import annotations

import csv
import os
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ledger import times, trials, tried, way
from PIL import Image
from tiny_run import RunCommand

from dgaug.data.layouts import open_data
from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.store.sources import Sources
from dgaug.synthesis.pairs import parse_pairs

SIGNS = [*',"\n\r\t; é\0\\/.-0123456789', "../", "\ud800", "\x1b"]
HOSTILE = {
    "empty": b"",
    "only a header": b"path,identity\n",
    "no header": b"a.png,1\n",
    "zero bytes": b"path,identity\0\na.png,1\0\n",
    "not UTF-8": b"path,identity\n\xff\xfe.png,1\n",
    "UTF-16": "path,identity\na.png,1\n".encode("utf-16"),
    "an open quote": b'path,identity\n"a.png,1\n',
    "a field of 300 kB": b"path,identity\na.png," + b"x" * 300_000 + b"\n",
    "up": b"path,identity\n../../etc/passwd,1\n",
    "up in the middle": b"path,identity\nx/../../../etc/passwd,1\n",
    "absolute": b"path,identity\n/etc/passwd,1\n",
    "a drive": b"path,identity\nC:/a.png,1\n",
    "a share": b"path,identity\n\\\\host\\a.png,1\n",
    "a folder": b"path,identity\nfolder,1\n",
    "itself": b"path,identity\n.,1\n",
    "a zero byte in a path": b'path,identity\n"a\0.png",1\n',
    "a zero byte in a folder": b'path,identity\n"a\0/b.png",1\n',
    "a negative camera of 30 digits": b"path,identity,camera\na.png,1,-11111111111111111111111111111\n",
    "a negative camera": b"path,identity,camera\na.png,1,-5\n",
    "twice": b"path,identity\na.png,1\n./a.png,1\n",
    "twice a column": b"path,identity,path\na.png,1,b.png\n",
    "a long path": b"path,identity\n" + b"d/" * 3000 + b"a.png,1\n",
    "a name too long": b"path,identity\n" + b"d" * 300 + b".png,1\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (32, 64)).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_refused(folder: Path, refused_or_done: RunCommand, name: str) -> None:
    (folder / "manifest.csv").write_bytes(HOSTILE[name])
    for given_path in (folder, folder / "manifest.csv"):
        refused_or_done("data", "check", given_path).error()
        tried("manifest: hostile", "refused")


def test_a_link_out_of_the_manifest_s_folder_is_followed_because_its_owner_made_it(folder: Path) -> None:
    """What docs/data say of links: they belong to whoever can write to the folder."""
    (folder / "inside").mkdir()
    (folder / "inside" / "out.png").symlink_to(folder / "a.png")
    (folder / "inside" / "manifest.csv").write_text("path,identity\nout.png,1\n", encoding="utf-8")
    assert open_data(folder / "inside").splits["train"][0].path == "out.png"


def mutated(text: str, chance: random.Random) -> bytes:
    """A table with up to four places changed: a sign or two taken out, one of another kind put in."""
    signs = list(text)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(signs))
        signs[place : place + chance.randint(0, 2)] = chance.choice(SIGNS)
    return "".join(signs).encode("utf-8", "surrogatepass")


def test_mutated_manifests_are_read_or_refused(folder: Path, refused_or_done: RunCommand) -> None:
    chance = random.Random(0)
    whole = "path,identity,camera,split,role\na.png,0001,1,train,identity\nb.png,0002,2,query,\n"
    for _ in range(times(100, 5000)):
        (folder / "manifest.csv").write_bytes(mutated(whole, chance))
        ended = refused_or_done("data", "check", folder, "--json")
        tried("manifest: a few signs changed", way(ended.code))


def test_what_is_no_file_in_place_of_a_file_is_refused(
    folder: Path, refused_or_done: RunCommand, tiny_run: Run
) -> None:
    """A pipe would be waited for without end, a device would be read without end."""
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "pipe.csv")
    os.mkfifo(folder / "pipe.npz")
    (folder / "zero.csv").symlink_to("/dev/zero")
    (folder / "zero.npz").symlink_to("/dev/zero")
    run, data = tiny_run.folder, tiny_run.data_root()
    commands: list[list[str | Path]] = []
    for thing in ("pipe", "pipe.csv", "zero.csv", "folder"):
        commands += [
            ["data", "check", folder / thing],
            ["config", "show", folder / thing],
            ["train", "--config", folder / thing],
            ["train", "--data", data, "--teacher", folder / thing],
            ["train", "--data", data, "--set", f"model.weights={folder / thing}"],
            ["synthesize", "--run", run, "--out", folder / "store", "--pairs", f"csv:{folder / thing}"],
            ["synthesize", "--run", run, "--out", folder / "store", "--teacher", folder / thing],
            ["synthesize", "--checkpoint", folder / thing, "--data", data, "--out", folder / "store"],
            ["score-fid", folder / thing, "--run", run],
            ["score-fid", "--run", run, "--inception-weights", folder / thing],
            ["eval-reid", folder / thing, "--data", data],
            ["verify", folder / thing],
            ["export", folder / thing, "--to", "csv", "--out", folder / "out"],
            ["export", folder / thing, "--to", "onnx", "--out", folder / "out.onnx"],
            ["swap", "--run", run, folder / thing, folder / thing, "--out", folder / "x.png"],
            ["import", folder / thing, "--out", folder / "imported"],
            ["report", folder / thing],
        ]
    for thing in ("pipe.npz", "zero.npz"):
        commands += [["score-fid", tiny_run.store, "--real", folder / thing, "--out", folder / "scores"]]
    for command in commands:
        ended = refused_or_done(*command)
        assert ended.code == 2, (command, ended)
        tried("a pipe, device or folder in place of a file", way(ended.code))


PAIRS = {
    "empty": b"",
    "only a header": b"appearance,structure\n",
    "another header": b"a,b\n0,1\n",
    "three columns": b"appearance,structure\n0,1,2\n",
    "one column": b"appearance,structure\n0\n",
    "a row that is not there": b"appearance,structure\n0,999999\n",
    "a negative row": b"appearance,structure\n-1,0\n",
    "a row of 40 digits": b"appearance,structure\n0," + b"1" * 40 + b"\n",
    "other digits": "appearance,structure\n٣,0\n".encode(),
    "a float": b"appearance,structure\n1.0,0\n",
    "twice": b"appearance,structure\n0,1\n0,1\n",
    "zero bytes": b"appearance,structure\n0,1\0\n",
    "not UTF-8": b"appearance,structure\n\xff,1\n",
    "a field of 300 kB": b"appearance,structure\n0," + b"1" * 300_000 + b"\n",
    "an open quote": b'appearance,structure\n"0,1\n',
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_hostile_list_of_pairs_is_refused(
    tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand, name: str
) -> None:
    (tmp_path / "pairs.csv").write_bytes(PAIRS[name])
    pairs = f"csv:{tmp_path / 'pairs.csv'}"
    refused_or_done("synthesize", "--run", tiny_run.folder, "--pairs", pairs, "--out", tmp_path / "store").error()
    assert not (tmp_path / "store" / "dataset.h5").exists()
    tried("pair list: hostile", "refused")


def test_mutated_lists_of_pairs_are_read_or_refused(tmp_path: Path, tiny_run: Run) -> None:
    sources = Sources.of(open_data(tiny_run.data_root()).splits["train"])
    chance = random.Random(0)
    whole = "appearance,structure\n0,1\n" + f"{sources.path[2]},{sources.path[3]}\n5,5\n23,22\n"
    for _ in range(times(300, 20_000)):
        (tmp_path / "pairs.csv").write_bytes(mutated(whole, chance))
        try:
            pairs = parse_pairs(f"csv:{tmp_path / 'pairs.csv'}").over(sources)
            rows = pairs.slice(0, pairs.count)
            assert all(0 <= row < len(sources) for column in rows for row in column)
            tried("pair list: a few signs changed", "taken")
        except DgaugError:
            tried("pair list: a few signs changed", "refused")


@trials(200, 5000)
@given(st.text(max_size=20) | st.from_regex(r"(random|per-appearance|grid|csv|all):\w*x?\d{0,25}", fullmatch=True))
@example("random:" + "9" * 5000)
@example("grid:1x" + "9" * 5000)
@example("csv:\0")
def test_any_text_of_a_design_is_taken_or_refused(tiny_run: Run, text: str) -> None:
    try:
        parse_pairs(text).over(Sources.of(open_data(tiny_run.data_root()).splits["train"]))
        tried("pairs: any text", "taken")
    except DgaugError:
        tried("pairs: any text", "refused")


ENDLESS = [
    r"^(?P<identity>(a+)+)$",
    r"(?P<identity>(\w+\s?)+)$",
    r"(?P<identity>(a|aa)+)$",
    r"(?P<identity>(.*)*)x",
    r"(?P<identity>(a?){60}a{60})x",
    r"^(?P<identity>([a-z]+)*)(?P<camera>\d+)(?P=identity)$",
]


@pytest.mark.parametrize("pattern", ENDLESS[:: times(3, 1)])
def test_a_pattern_that_never_ends_is_given_up(
    tmp_path: Path, refused_or_done: RunCommand, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    monkeypatch.setattr("dgaug.data.patterned._LEAST_SECONDS", times(1, 10))
    Image.new("RGB", (32, 64)).save(tmp_path / ("a" * 60 + "!.png"))
    output = refused_or_done("data", "check", tmp_path, "--pattern", pattern).error()
    assert "was given up" in output or "match the pattern" in output
    tried("pattern: one that never ends", "refused")


@trials(60, 2000)
@given(st.text(alphabet="()[]{}|\\*+?.^$dwsPp<>=!:#-0123459abc ", max_size=25))
@example("(?P<identity>" * 5000 + "a" + ")" * 5000)
@example("(?P<identity>a{4294967295})")
@example("(?P<identity>" + "(" * 99 + ")" * 99 + ")")
@example("(?P<identity>(?i:[\U00000000-\U0010ffff]))")
@example("(?P<identity>\\p{L})")
def test_any_pattern_is_taken_or_refused(people: Path, refused_or_done: RunCommand, text: str) -> None:
    for pattern in (text, f"(?P<identity>{text})"):
        ended = refused_or_done("data", "check", people, f"--pattern={pattern}", "--json")
        tried("pattern: any text", way(ended.code))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("people")
    for name in ("anna_cam1.png", "ben_cam22.png"):
        Image.new("RGB", (32, 64)).save(root / name)
    return root


def test_what_pack_writes_is_what_was_there(tmp_path: Path, tiny_run: Run, refused_or_done: RunCommand) -> None:
    shutil.copytree(tiny_run.data_root(), tmp_path / "data")
    before = open_data(tmp_path / "data").splits
    assert refused_or_done("data", "pack", tmp_path / "data").code == 0
    assert open_data(tmp_path / "data").splits == before
    with open(tmp_path / "data" / "manifest.csv", newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 1 + sum(map(len, before.values()))
