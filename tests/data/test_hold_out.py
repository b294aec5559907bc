"""Identities held out of training become a test split that models can be evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tiny_run import RunCommand

from dgaug.data.layouts import open_data
from dgaug.data.prepare import hold_out
from dgaug.data.records import IdentityData
from dgaug.errors import DgaugError
from dgaug.scores.retrieval.held_out import require_evaluation

WriteTree = Callable[[Iterable[str]], Path]


def names(data: IdentityData, split: str) -> set[str]:
    return {record.identity for record in data.splits[split]}


def test_a_folder_of_ones_own_can_be_evaluated_on(write_tree: WriteTree, dgaug: RunCommand) -> None:
    root = write_tree(f"person {k}/{n}.jpg" for k in range(6) for n in range(3))
    packed = dgaug("data", "pack", root, "--hold-out", "2")
    assert packed.code == 0
    data = open_data(root)
    assert {split: len(records) for split, records in data.splits.items()} == {"train": 12, "query": 2, "gallery": 4}
    assert names(data, "query") == names(data, "gallery")
    assert not names(data, "query") & names(data, "train")
    require_evaluation(data)
    again = dgaug("data", "pack", root, "--hold-out", "2", "--force").error()
    assert f"query or gallery split already; leave --hold-out out, or remove {root / 'manifest.csv'} first" in again


def test_a_query_has_an_answer_from_another_camera(write_tree: WriteTree) -> None:
    one_camera = [f"a{k}_c1_{n}.jpg" for k in range(3) for n in range(2)]
    root = write_tree([*one_camera, "b1_c1_0.jpg", "b1_c2_0.jpg", "b2_c1_0.jpg", "b2_c2_0.jpg"])
    data = open_data(root, pattern="(?P<identity>[a-z][0-9])_c(?P<camera>[0-9])")
    held = hold_out(data, 2, seed=3)
    assert names(held, "query") == {"b1", "b2"}
    require_evaluation(held)
    assert hold_out(data, 2, seed=3).splits == held.splits
    for count in (1, 3):
        with pytest.raises(DgaugError, match=f"--hold-out {count}: of the 5 training .*, from 2 to 2 can be held out"):
            hold_out(data, count)
    with pytest.raises(DgaugError, match=r"of .*, none can be held out"):
        hold_out(open_data(root, pattern="(?P<identity>[ab])"), 2)
