"""Teachers that are given: any re-id checkpoint of dgaug, one or several, and refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import RunCommand, write_config

from dgaug.models.checkpoints import load_reid
from dgaug.models.reid import Ensemble
from dgaug.runs import Run
from dgaug.store.read import open_store


def test_a_re_id_model_and_a_dgnet_checkpoint_teach_together(tmp_path: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    config = write_config(tmp_path / "a.yaml", schedule={"iterations": 3})
    run = Run(tmp_path / "run")
    teachers = ("--teacher", tiny_run.teacher, "--teacher", tiny_run.checkpoint)
    ended = dgaug("train", "--config", config, "--out", run.folder, *teachers)
    assert ended.code == 0, ended.err
    network = load_reid(run.teacher).network
    assert isinstance(network, Ensemble)
    assert [len(member.heads) for member in network.members] == [1, 2]
    assert dgaug("train", "--out", run.folder, "--resume").code == 0
    assert dgaug("synthesize", "--run", run.folder, "--pairs", "random:5").code == 0
    store = open_store(run.store)
    assert len(store) == 5
    assert store.spec.teacher_sha256 == load_reid(run.teacher).sha256


def test_a_teacher_of_other_identities_is_refused_before_anything_is_made(
    tmp_path: Path, tiny_run: Run, dgaug: RunCommand
) -> None:
    config = write_config(tmp_path / "a.yaml")
    people = tmp_path / "people"
    assert dgaug("data", "toy", people, "--identities", "4", "--size", "64x32").code == 0
    ended = dgaug(
        "train", "--config", config, "--data", people, "--out", tmp_path / "run", "--teacher", tiny_run.teacher
    )
    assert "the teacher knows 6 identities" in ended.error()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["none", "missing.pt"])
def test_a_teacher_that_is_not_there_is_named(tmp_path: Path, dgaug: RunCommand, text: str) -> None:
    ended = dgaug("train", "--config", write_config(tmp_path / "a.yaml"), "--teacher", text, "--out", tmp_path / "run")
    assert text in ended.error()
    assert not (tmp_path / "run").exists()
