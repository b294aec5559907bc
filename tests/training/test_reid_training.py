"""Training of a re-id network: it learns, it is fed as its ramp says, and it resumes where it stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import assert_same_checkpoint, tiny_settings

from dgaug.data.prepare import read_data
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.models import checkpoints
from dgaug.models.architectures import appearance_architecture, teacher_architecture
from dgaug.runs import Run
from dgaug.scores.retrieval.features import features_of
from dgaug.settings import FeedSettings, ReidSettings
from dgaug.store.read import open_store
from dgaug.studies.feeds import StoreFeed
from dgaug.training import reid_loop
from dgaug.training.batches import LabelledImages
from dgaug.training.reid_loop import ReidJob, train_reid_network

ALONE = Processes(torch.device("cpu"))


@pytest.fixture
def job(tiny_run: Run) -> ReidJob:
    """A short training of a one-head network on the images of the tiny run."""
    settings = tiny_settings()
    data = read_data(tiny_run.data_root(), settings.data)
    images = LabelledImages.of(data, settings.data.image_size)
    architecture = teacher_architecture(settings, len(images.class_names))
    short = ReidSettings(iterations=4, batch_size=8)
    return ReidJob(images, short, settings.data, architecture, weights="none", seed=3)


def terms_of(job: ReidJob, path: Path) -> list[dict[str, float]]:
    lines: list[dict[str, float]] = []
    train_reid_network(job, path, processes=ALONE, save_every=100, on_log=lambda _, terms: lines.append(dict(terms)))
    return lines


def test_a_network_learns_to_tell_the_training_identities_apart(job: ReidJob, tmp_path: Path) -> None:
    longer = ReidSettings(iterations=80, batch_size=12, learning_rate=0.1, backbone_factor=1.0, erasing=0)
    terms = terms_of(replace(job, settings=longer), tmp_path / "last.pt")
    assert terms[-1]["identification"] < 0.5 * terms[0]["identification"]
    network = checkpoints.load_reid(tmp_path / "last.pt").network
    features = features_of(network, job.images.paths, (64, 32), title="")
    similarity = features @ features.T - 2 * torch.eye(len(features))
    nearest = job.images.labels[similarity.argmax(dim=1)]
    assert (nearest == job.images.labels).float().mean() > 0.6


def test_generated_images_come_in_with_the_ramp(job: ReidJob, tmp_path: Path, tiny_run: Run) -> None:
    architecture = appearance_architecture(tiny_settings(), 6)
    fed = FeedSettings(iterations=8, batch_size=8, ramp_start=0.5, ramp_length=0.25, teacher=2, fine=0.2, real_fine=0.4)
    feed = StoreFeed(open_store(tiny_run.store), 8, seed=0)
    terms = terms_of(replace(job, settings=fed, architecture=architecture, feed=feed), tmp_path / "last.pt")
    assert ["teacher" in line for line in terms] == [False] * 4 + [True] * 4
    for line, weight in zip(terms, [0, 0, 0, 0, 1, 2, 2, 2], strict=True):
        total = line["identification"] + 0.4 * line["real_fine"]
        total += weight * (line.get("teacher", 0) + 0.2 * line.get("fine", 0))
        assert line["total"] == pytest.approx(total, rel=1e-5)


def test_a_one_head_model_learns_from_soft_labels_only(job: ReidJob, tmp_path: Path, tiny_run: Run) -> None:
    fed = FeedSettings(iterations=3, batch_size=8, ramp_start=0, ramp_length=0.1)
    feed = StoreFeed(open_store(tiny_run.store), 8, seed=0)
    terms = terms_of(replace(job, settings=fed, feed=feed), tmp_path / "last.pt")
    assert terms[-1].keys() == {"identification", "teacher", "total"}


def test_training_that_stopped_resumes_to_the_same_weights(job: ReidJob, tmp_path: Path) -> None:
    whole, stopped = tmp_path / "whole.pt", tmp_path / "stopped.pt"
    train_reid_network(job, whole, processes=ALONE, save_every=100)

    def power_cut(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if done == 3:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train_reid_network(job, stopped, processes=ALONE, save_every=2, progress=power_cut)
    assert not stopped.exists()
    train_reid_network(job, stopped, processes=ALONE, save_every=2)
    assert_same_checkpoint(whole, stopped)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped.pt", "whole.pt"]


def test_a_finished_network_is_not_trained_again(job: ReidJob, tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    train_reid_network(job, path, processes=ALONE, save_every=100)
    before = path.stat().st_mtime_ns
    assert terms_of(job, path) == []
    assert path.stat().st_mtime_ns == before


def test_learning_rates_warm_up_and_differ_between_backbone_and_heads(job: ReidJob, tmp_path: Path) -> None:
    changed = ReidSettings(
        iterations=4, batch_size=8, learning_rate=0.2, backbone_factor=0.5, warmup=0.5, milestones=()
    )
    rates = []

    def stop(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        state = tmp_path / "last.state.pt"
        if state.is_file():
            groups = torch.load(state, weights_only=True)["optimizer"]["param_groups"]
            rates.append([group["lr"] for group in groups])

    train_reid_network(
        replace(job, settings=changed), tmp_path / "last.pt", processes=ALONE, save_every=1, progress=stop
    )
    assert rates == [pytest.approx([0.01, 0.02]), pytest.approx([0.055, 0.11]), pytest.approx([0.1, 0.2])]


def test_a_learning_rate_that_is_far_too_high_ends_in_one_clear_line(job: ReidJob, tmp_path: Path) -> None:
    wild = ReidSettings(iterations=60, batch_size=8, learning_rate=1e30, warmup=0)
    with pytest.raises(DgaugError, match=r"training of teacher diverged at iteration \d+; lower the learning rate"):
        train_reid_network(replace(job, settings=wild), tmp_path / "last.pt", processes=ALONE, save_every=100)
    assert not (tmp_path / "last.pt").exists()


def test_losses_that_are_read_late_name_the_iteration_that_diverged(job: ReidJob) -> None:
    waiting = [
        reid_loop._Terms(7, ["identification", "total"], torch.tensor([1.0, 1.0])),
        reid_loop._Terms(8, ["identification", "teacher", "total"], torch.tensor([1.0, 2.0, 3.0])),
    ]
    assert reid_loop._read(waiting, job)[1] == {"identification": 1.0, "teacher": 2.0, "total": 3.0}
    waiting += [reid_loop._Terms(number, ["total"], torch.tensor([torch.nan])) for number in (9, 10)]
    with pytest.raises(DgaugError, match="training of teacher diverged at iteration 9; lower the learning rate"):
        reid_loop._read(waiting, job)


def test_a_gpu_is_waited_for_now_and_then_and_every_iteration_is_logged(
    job: ReidJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = terms_of(job, tmp_path / "often.pt")
    reads: list[int] = []
    read = reid_loop._read

    def counted(waiting: list[reid_loop._Terms], job: ReidJob) -> list[dict[str, float]]:
        reads.append(len(waiting))
        return read(waiting, job)

    monkeypatch.setattr(reid_loop, "_read", counted)
    monkeypatch.setattr(reid_loop, "_read_every", lambda device: 3)
    assert terms_of(job, tmp_path / "seldom.pt") == often
    assert reads == [3, 1]
    assert_same_checkpoint(tmp_path / "often.pt", tmp_path / "seldom.pt")
