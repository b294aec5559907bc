"""What follows a training beside log.jsonl: TensorBoard, Weights & Biases and MLflow without a network."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest
from accelerate.state import PartialState
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import RunCommand, tiny_settings

from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.settings import Settings
from dgaug.training import trackers
from dgaug.training.log import TrainingLog


def settings_of(tracker: str) -> Settings:
    return tiny_settings(checkpoint={"tracker": tracker})


def logged(folder: Path, tracker: str) -> None:
    """Two phases that both count from 0, and a sample grid."""
    sheet = folder / "samples" / "00000001.png"
    sheet.parent.mkdir(parents=True)
    Image.new("RGB", (8, 4), "red").save(sheet)
    with closing(TrainingLog(folder / "log.jsonl", start=0, settings=settings_of(tracker))) as log:
        for iteration in range(3):
            log.write("teacher", iteration, {"total": 3.0 - iteration}, {})
        for iteration in range(2):
            log.write("dgnet", iteration, {"pixel": 0.5 + iteration}, {"pixel": 5.0})
        log.image("samples", sheet, 1)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["phase"], line["iteration"]) for line in lines] == [
        *(("teacher", iteration) for iteration in range(3)),
        *(("dgnet", iteration) for iteration in range(2)),
    ]
    assert PartialState._shared_state == {}, "Accelerate is as it was for whoever uses it next"


def test_tensorboard_has_metrics_weights_settings_and_images(tmp_path: Path) -> None:
    logged(tmp_path, "tensorboard")
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("teacher/total")] == [(0, 3), (1, 2), (2, 1)]
    assert [event.value for event in board.Scalars("weight/pixel")] == [5, 5]
    assert board.Images("samples")[0].width == 8
    assert b"batch_size: 8" in board.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]


def test_wandb_writes_a_run_that_can_be_uploaded_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logged(tmp_path, "wandb")
    wandb.teardown()  # it writes the last bytes when the process ends
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    (record,) = run.glob("run-*.wandb")
    content = record.read_bytes()
    for name in (b"teacher/total", b"dgnet/pixel", b"weight/pixel", b"schedule.iterations", b"samples"):
        assert name in content, name
    assert len(list(run.glob("files/media/images/*.png"))) == 1
    assert not (tmp_path / "tensorboard").exists()


def test_mlflow_keeps_a_run_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = mlflow.get_tracking_uri()
    logged(tmp_path, "mlflow")
    assert mlflow.get_tracking_uri() == before
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'dgaug'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == (tmp_path.name, "FINISHED")
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "teacher/total")] == [
        (0, 3),
        (1, 2),
        (2, 1),
    ]
    assert run.data.params["schedule.iterations"] == "8"
    assert len(list((tmp_path / "mlruns").rglob("samples/00000001.png"))) == 1


def test_none_leaves_the_log_alone(tmp_path: Path) -> None:
    logged(tmp_path, "none")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["log.jsonl", "samples"]


def test_a_tracker_that_fails_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Mock(spec=["log", "finish", "store_init_configuration"])
    tracker.log.side_effect = ConnectionError("the network is gone")
    monkeypatch.setattr(trackers, "_started", lambda *_: tracker)
    monkeypatch.setattr(trackers, "find_spec", lambda _: True)
    with closing(TrainingLog(tmp_path / "log.jsonl", start=0, settings=settings_of("mlflow"))) as log:
        log.write("teacher", 0, {"total": 1.0}, {})
        log.write("teacher", 1, {"total": 1.0}, {})
    assert tracker.log.call_count == 1
    assert "mlflow failed and gets nothing more: the network is gone" in caplog.text
    assert len((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 2
    monkeypatch.setattr(trackers, "_started", Mock(side_effect=RuntimeError("no API key")))
    with pytest.raises(DgaugError, match=r"--log wandb does not start: no API key; WANDB_MODE=offline"):
        TrainingLog(tmp_path / "log.jsonl", start=0, settings=settings_of("wandb"))
    assert PartialState._shared_state == {}


def test_a_missing_package_is_named_before_anything_is_made(
    tmp_path: Path, tiny_run: Run, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    monkeypatch.chdir(tmp_path)
    for command in (("train",), ("train-reid", "--run", tiny_run.folder), ("ablate",), ("demo",)):
        assert "pip install 'dgaug[wandb]'" in dgaug(*command, "--log", "wandb").error()
        assert "'dgaug[mlflow]'" in dgaug(*command, "--set", "checkpoint.tracker=mlflow").error()
    assert not list(tmp_path.iterdir())


def test_re_id_models_have_a_log_each(tmp_path: Path, tiny_run: Run, dgaug: RunCommand) -> None:
    few = ("--set", "reid.iterations=3", "--feed", "none", "--log", "none")
    assert dgaug("train-reid", "--run", tiny_run.folder, *few, "--out", tmp_path / "reid").code == 0
    (model,) = (tmp_path / "reid").glob("seed0-*")
    lines = [json.loads(line) for line in (model / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["iteration"] for line in lines if line["phase"] == "re-id"] == [0, 1, 2]
    assert lines[0]["terms"].keys() >= {"total", "identification"}
    assert lines[0]["weights"]["identification"] == 1
    assert any("rank" in name.lower() or "R1" in name for name in lines[-1]["terms"])
    assert not (model / "tensorboard").exists()
