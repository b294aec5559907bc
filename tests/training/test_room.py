"""Too little memory of a GPU is said before the first iteration, with what fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_run import RunCommand, tiny_settings

from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.models.architectures import teacher_architecture
from dgaug.models.reid import ReidNetwork
from dgaug.settings import ReidSettings, ScheduleSettings
from dgaug.training.dgnet import DGNet
from dgaug.training.reid_losses import ReidTerms
from dgaug.training.trials import Trial, dgnet_trial, fewest_turns, reid_trial, require_room

CARD, CPU = torch.device("cuda", 0), torch.device("cpu")


@pytest.fixture(autouse=True)
def _card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (3 * 2**29, 2**31))


def with_memory_for(images: int, batch: int, tried: list[int]) -> Trial:
    """A trial on a card that has memory for so many images at a time."""

    def trial(turns: int) -> None:
        tried.append(turns)
        if batch // turns > images:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    return trial


def test_a_batch_that_fits_is_tried_once() -> None:
    tried: list[int] = []
    require_room(with_memory_for(8, 8, tried), ScheduleSettings(batch_size=8), "schedule", Processes(CARD))
    assert tried == [1]


def test_the_largest_part_that_fits_is_named_with_its_option() -> None:
    tried: list[int] = []
    plan = ScheduleSettings(batch_size=12)
    with pytest.raises(DgaugError) as refused:
        require_room(with_memory_for(4, 12, tried), plan, "schedule", Processes(CARD))
    assert str(refused.value) == (
        "cuda:0 (Card, 1.5 of 2.0 GiB free) has too little memory for schedule: 12 images on each side at a time do "
        "not fit, 4 do; --set schedule.accumulation=3 gives the same batches in 3 parts"
    )
    assert tried == [1, 2, 3]
    require_room(
        with_memory_for(4, 12, tried), plan.model_copy(update={"accumulation": 3}), "schedule", Processes(CARD)
    )


def test_a_run_that_has_begun_is_told_something_that_it_can_do() -> None:
    with pytest.raises(DgaugError, match="4 do; a run that has begun keeps its batches, so continue it on another"):
        require_room(with_memory_for(4, 8, []), ScheduleSettings(batch_size=8), "schedule", Processes(CARD), begun=True)


def test_where_nothing_fits() -> None:
    plan = ReidSettings(batch_size=8)
    with pytest.raises(DgaugError, match=r"for teacher: 8 images at a time do not fit, nor do 2: choose smaller data"):
        require_room(with_memory_for(1, 8, []), plan, "teacher", Processes(CARD))
    assert fewest_turns(with_memory_for(1, 8, []), plan, 2) == 9


def test_other_errors_pass() -> None:
    def trial(turns: int) -> None:
        raise RuntimeError("expected something else")

    with pytest.raises(RuntimeError, match="something else"):
        require_room(trial, ReidSettings(), "teacher", Processes(CARD))


def test_a_cpu_is_not_tried() -> None:
    require_room(with_memory_for(0, 8, tried := []), ScheduleSettings(), "schedule", Processes(CPU))
    assert tried == []


@pytest.mark.parametrize("turns", [1, 2])
def test_a_trial_computes_what_training_computes_at_its_end(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny_settings(schedule={"batch_size": 4, "iterations": 50, "ramp_start": 0.9, "ramp_length": 0.02})
    teacher = ReidNetwork(**teacher_architecture(settings, 5) | {"weights": "none"})
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    seen: list[tuple[int, int, int, bool]] = []
    step: Callable[..., dict[str, float]] = DGNet.step

    def watched(model: DGNet, batches: list[object], iteration: int) -> dict[str, float]:
        terms = step(model, batches, iteration)
        seen.append((len(batches), len(batches[0].labels), model.settings.loss.structure_branch, "teacher" in terms))
        return terms

    monkeypatch.setattr(DGNet, "step", watched)
    dgnet_trial(settings, 5, teacher, Processes(CPU))(turns)
    assert seen == [(turns, 8 // turns, branch, True) for branch in (1.0, 0.0)]
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_a_trial_of_a_re_id_network_has_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, seen = tiny_settings(), []
    forward = ReidTerms.forward
    monkeypatch.setattr(ReidTerms, "forward", lambda *given: seen.append(len(given[1])) or forward(*given))
    trial = reid_trial(
        settings.teacher, teacher_architecture(settings, 5) | {"weights": "none"}, Processes(CPU), image_size=(64, 32)
    )
    trial(2)
    assert seen == [4]


def test_training_says_it_before_anything_is_made(
    tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch, dgaug: RunCommand
) -> None:
    def short(model: DGNet, batches: list[object], iteration: int) -> dict[str, float]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(DGNet, "step", short)
    monkeypatch.setattr("dgaug.training.trials._on_a_gpu", lambda device: True)
    out = tmp_path / "run"
    output = dgaug("train", "--config", tiny_config, "--out", out).error()
    assert "has too little memory for schedule: 2 images on each side" in output
    assert not out.exists()
