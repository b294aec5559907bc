"""What stands in the way of an output is named once and for all commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgaug.errors import DgaugError
from dgaug.outputs import changes, flat, put_in_place, remove, require_only, require_same_settings


def test_settings_that_differ_are_named_with_both_values_and_a_remedy() -> None:
    before, asked = (
        {"seed": 0, "codec": "jpeg", "judge": None},
        {"seed": 3, "codec": "png", "hash": "0123456789abcdef" * 4},
    )
    assert changes(before, asked) == ["seed: 0 -> 3", "codec: jpeg -> png", "hash: none -> 01234567…"]
    with pytest.raises(DgaugError, match=r"out was made with other settings \(seed: 0 -> 3; .*\); .*--out.*--force"):
        require_same_settings(Path("out"), before, asked)
    with pytest.raises(DgaugError, match=r"; and 2 more\); wait"):
        require_same_settings(Path("out"), {}, dict.fromkeys("abcde", 1), remedy="wait")
    require_same_settings(Path("out"), {"seed": 0}, {"seed": 0, "judge": None})


def test_nested_settings_become_one_level() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": 2}, "e": {}}, ".") == {"a.b.c": 1, "a.d": 2}
    assert flat(None) == {}


def test_a_folder_of_something_else_is_refused_and_hidden_files_where_they_count(tmp_path: Path) -> None:
    require_only(tmp_path / "new", (), of="a run")
    (tmp_path / ".git").mkdir()
    (tmp_path / "store").mkdir()
    require_only(tmp_path, {"store"}, of="a run")
    for parts, hidden, named in ((set(), False, "store"), ({"store"}, True, ".git")):
        with pytest.raises(DgaugError, match=rf"it holds {named}, which is no part of a run; choose another --out"):
            require_only(tmp_path, parts, of="a run", hidden=hidden)
    (tmp_path / "file").touch()
    with pytest.raises(DgaugError, match="is a file"):
        require_only(tmp_path / "file", (), of="a run")


def test_what_a_link_leads_to_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "full" / "deep").mkdir(parents=True)
    remove(tmp_path / "link", tmp_path / "full", tmp_path / "gone")
    assert [item.name for item in tmp_path.iterdir()] == ["data"]


def test_a_finished_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for name, content in (("new", "b"), ("final", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / content).touch()
    put_in_place(tmp_path / "new", tmp_path / "final")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["final", "final/b"]
