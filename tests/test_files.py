"""Files are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgaug.errors import DgaugError
from dgaug.files import read_json, whole, write_json, write_text


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "note.txt"
    with whole(path) as aside:
        aside.write_text("new", encoding="utf-8")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "new"
    assert [item.name for item in path.parent.iterdir()] == ["note.txt"]


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def fail() -> None:
        with whole(path) as aside:
            aside.write_text("half", encoding="utf-8")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["note.txt"]


def test_the_file_aside_keeps_the_suffix_that_writers_look_at(tmp_path: Path) -> None:
    with whole(tmp_path / "image.png") as aside:
        assert aside.suffix == ".png"
        aside.touch()


def test_json_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"é": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"é": [1, 2.5, None]}


@pytest.mark.parametrize(("content", "said"), [(None, "cannot read"), ("{", "cannot read"), ("[1]", "found list")])
def test_json_that_is_missing_damaged_or_no_object_is_refused(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DgaugError, match=said) as caught:
        read_json(path)
    assert str(path) in str(caught.value)
