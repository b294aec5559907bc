"""Names that other people gave: they are shown, never obeyed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ledger import tried, way
from PIL import Image
from tiny_run import RunCommand, finish_process, start_process

NAMES = {
    "spaces": "0001_c1 my image.jpg",
    "quotes": "0001_c1_'\"`.jpg",
    "newline": "0001_c1_\nerror: all is lost.jpg",
    "escape": "0001_c1_\x1b[2J\x1b]0;owned\x07.jpg",
    "carriage return": "0001_c1_\rdone.jpg",
    "right to left": "0001_c1_\u202egpj.exe.jpg",
    "C1 escape": "0001_c1_\x9b31m.jpg",
    "shell": "0001_c1_$(touch canary);`touch canary`.jpg",
    "markup": "0001_c1_[bold red]<script>alert(1)<x>.jpg",
    "option": "-rf_c1_0.jpg",
    "format": "0001_c1_%s{0}{x!r}.jpg",
    "umlauts": "0001_c1_\u00e4\u65e5\u672c.jpg",
    "long": "0001_c1_" + "x" * 240 + ".jpg",
    "formula": "=1+1_c1_0.jpg",
    "comma": '0001_c1_a,"b".jpg',
}


def people(root: Path, name: str | bytes, *, damaged: bool) -> Path:
    folder = root / "bounding_box_train"
    folder.mkdir(parents=True)
    for number in (1, 2):
        Image.new("RGB", (32, 64), (9 * number, 0, 0)).save(folder / f"000{number}_c1_0.png")
    path = os.path.join(os.fsencode(folder), os.fsencode(name))
    Image.new("RGB", (32, 64)).save(folder / "image.jpg")
    os.rename(folder / "image.jpg", path)
    if damaged:
        Path(os.fsdecode(path)).write_bytes(b"no image")
    return root


@pytest.mark.parametrize("damaged", [True, False], ids=["damaged", "whole"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_with_its_signs_escaped(
    tmp_path: Path, refused_or_done: RunCommand, monkeypatch: pytest.MonkeyPatch, name: str, damaged: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    root = people(tmp_path / "people", NAMES[name], damaged=damaged)
    ended = refused_or_done("data", "check", root)
    assert ended.code == int(damaged)
    assert "error: " not in ended.err.split("\n"), "a name made a line of its own"
    assert not any(line.startswith("error: ") for line in ended.err.splitlines())
    assert refused_or_done("data", "check", root, "--json").code == int(damaged)
    assert refused_or_done("data", "pack", root).code == 0
    assert refused_or_done("data", "check", root).code == int(damaged), "the manifest means the same files"
    assert not (tmp_path / "canary").exists()
    tried("names: signs, quotes, escapes in an image's name", way(ended.code))


def test_a_name_that_is_not_utf8_is_refused_by_name(tmp_path: Path, refused_or_done: RunCommand) -> None:
    root = people(tmp_path / "people", b"0001_c1_\xff\xfe.jpg", damaged=False)
    assert "not valid UTF-8" in refused_or_done("data", "check", root).error()
    tried("names: not UTF-8", "refused")


@pytest.mark.parametrize("folder", [b"\xff", b"\x1b[2J", b"a\nerror: b"])
@pytest.mark.parametrize("command", ["data check", "train --data", "verify", "score-fid", "export --to csv --out x"])
def test_a_folder_of_such_a_name_is_named_with_its_signs_escaped(
    tmp_path: Path, refused_or_done: RunCommand, monkeypatch: pytest.MonkeyPatch, folder: bytes, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir(folder)
    refused_or_done(*command.split(), os.fsdecode(folder)).error()
    tried("names: of a folder on the command line", "refused")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_terminal_that_knows_few_signs_is_told_all_the_same(tmp_path: Path, encoding: str) -> None:
    root = people(tmp_path / "日本 \udcff", NAMES["umlauts"], damaged=True)
    ended = finish_process(start_process("data", "check", root, PYTHONIOENCODING=encoding))
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err
    tried("names: on a terminal of few signs", way(ended.code))
