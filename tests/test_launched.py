"""Variables of a launcher: a group is one only where all of them say so, and a wrong one is named."""

from __future__ import annotations

import pytest
from tiny_run import RunCommand

from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.launched import Launched, alone, launched

NAMES = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
GROUP = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "node0", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_group_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, **GROUP)
    assert launched() == Launched(rank=1, size=2, local_size=2)


@pytest.mark.parametrize(
    "left_behind",
    [{}, {"RANK": "1"}, {"RANK": ""}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "1", "RANK": "3"}, {"MASTER_PORT": "29500"}],
)
def test_what_a_job_left_behind_makes_no_group(monkeypatch: pytest.MonkeyPatch, left_behind: dict[str, str]) -> None:
    given(monkeypatch, **left_behind)
    assert launched() == Launched(rank=0, size=1)
    assert Processes.here().is_rank_zero


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORLD_SIZE", "two"),
        ("WORLD_SIZE", "0"),
        ("WORLD_SIZE", "-1"),
        ("WORLD_SIZE", "1.0"),
        ("RANK", "abc"),
        ("RANK", "-1"),
        ("RANK", "²"),
        ("RANK", "2"),
        ("LOCAL_RANK", "first"),
        ("LOCAL_WORLD_SIZE", "0"),
        ("MASTER_PORT", "http"),
        ("MASTER_PORT", "70000"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    given(monkeypatch, **{**GROUP, name: value})
    with pytest.raises(DgaugError, match=name) as caught:
        Processes.here()
    assert value in str(caught.value)


@pytest.mark.parametrize("name", ["RANK", "MASTER_ADDR", "MASTER_PORT"])
@pytest.mark.parametrize("empty", [False, True])
def test_a_missing_variable_of_a_group_is_named(monkeypatch: pytest.MonkeyPatch, name: str, empty: bool) -> None:
    given(monkeypatch, **{key: value for key, value in GROUP.items() if key != name} | ({name: ""} if empty else {}))
    with pytest.raises(DgaugError, match=f"and {name} is not set"):
        Processes.here()


def test_a_left_behind_rank_silences_nothing(dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, RANK="1")
    ended = dgaug("config", "show", "toy")
    assert ended.code == 0
    assert "teacher:" in ended.out
    given(monkeypatch, RANK="abc")
    assert "RANK, found 'abc'" in dgaug("config", "show", "toy").error()


def test_a_command_of_one_process_is_told_so_before_anything_else_is_missing(
    dgaug: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    given(monkeypatch, WORLD_SIZE="2")
    assert "dgaug verify runs in one process" in dgaug("verify", "store").error()
    assert "RANK is not set" in dgaug("train").error()


def test_a_process_of_a_group_works_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    with alone() as local_rank:
        assert local_rank is None
    given(monkeypatch, **GROUP, LOCAL_RANK="1")
    before = launched()
    with alone() as local_rank:
        assert local_rank == 1
        assert launched() == Launched()
        assert Processes.here().world_size == 1
    assert launched() == before
