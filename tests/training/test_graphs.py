"""Recorded iterations: what changes from one to the next reaches them, and nothing else is taken from the recording.

There is no CUDA graph here. A stand-in runs the recorded work again over the same tensors, as a graph does, and leaves
what it makes in the tensors of the first time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_run import tiny_settings

from dgaug.errors import DgaugError
from dgaug.models.reid import ReidNetwork
from dgaug.training import graphs
from dgaug.training.dgnet import DGNet
from dgaug.training.graphs import WARM_UP, IterationGraphs, Made, Recorded
from dgaug.training.losses import Batch
from dgaug.training.networks import build_networks

CLASSES, SIDE = 4, 2


def make_model() -> DGNet:
    torch.manual_seed(0)
    settings = tiny_settings(
        loss={"structure_branch": 0.5, "teacher_identity": 0.5, "teacher_feature": 1.0},
        schedule={"iterations": 40, "ramp_start": 0.3, "adversarial_start": 0.15},
        structure_input={"mixing": "random", "print": 0.5, "region": "middle"},
    )
    networks = build_networks(settings, CLASSES)
    networks.teacher = ReidNetwork("small", CLASSES, dropouts=(0.5,), pool="avg", embedding=16)
    return DGNet(networks, settings)


def batch_of(iteration: int) -> Batch:
    generator = torch.Generator().manual_seed(iteration)
    images, positives = torch.randn(2, 2 * SIDE, 3, 64, 32, generator=generator)
    return Batch(images, positives, torch.randperm(CLASSES, generator=generator))


def recorded_on(model: DGNet, recordings: list[str]) -> Callable[..., Recorded]:
    """A stand-in for `graphs.record`: recording changes nothing, replaying does the work again in place."""

    def record(work: Callable[[], Made], pool: Any) -> Recorded:
        recordings.append(work.__name__)
        statistics = [(buffer, buffer.clone()) for network in model.networks.present() for buffer in network.buffers()]
        random = torch.get_rng_state()
        made = work()
        for buffer, before in statistics:
            buffer.copy_(before)
        torch.set_rng_state(random)

        def replay() -> None:
            terms, gradients = work()
            for name, term in made[0].items():
                term.copy_(terms[name])
            for (_, mine), (_, new) in zip(made[1], gradients, strict=True):
                assert (mine is None) == (new is None)
                if mine is not None and new is not None:
                    mine.copy_(new)

        return Recorded(replay, made)

    return record


def test_recorded_iterations_train_like_ordinary_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    ordinary, recorded = make_model(), make_model()
    recordings: list[str] = []
    monkeypatch.setattr(graphs, "record", recorded_on(recorded, recordings))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    recorded.graphs = IterationGraphs()
    for iteration in range(0, 40, 2):
        reports = [model.step([batch_of(iteration)], iteration) for model in (ordinary, recorded)]
        assert reports[0] == reports[1], iteration
    for mine, theirs in zip(ordinary.networks.present(), recorded.networks.present(), strict=True):
        state = theirs.state_dict()
        assert [name for name, value in mine.state_dict().items() if not torch.equal(value, state[name])] == []
    kinds = len(recordings) // 2
    assert kinds >= 3, "before the ramp, and after it with either network learning from the structure term"
    assert recordings == ["_discriminator_half", "_generator_half"] * kinds


def test_a_kind_of_iteration_is_recorded_when_it_was_seen_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    model, recordings = make_model(), list[str]()
    monkeypatch.setattr(graphs, "record", recorded_on(model, recordings))
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    model.graphs = IterationGraphs()
    for iteration in range(WARM_UP):
        model.step([batch_of(iteration)], iteration)
    assert recordings == []
    model.step([batch_of(WARM_UP)], WARM_UP)
    assert len(recordings) == 2


def test_gradients_that_add_up_are_not_recorded() -> None:
    model = make_model()
    result = IterationGraphs()
    for _ in range(2 * WARM_UP):
        assert result.of(model, [batch_of(0), batch_of(1)], []) is None


def test_a_gpu_that_does_not_record_is_said_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(work: Callable[[], Made], pool: Any) -> Recorded:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

    model = make_model()
    monkeypatch.setattr(graphs, "record", refused)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    model.graphs = IterationGraphs()
    for iteration in range(WARM_UP):
        model.step([batch_of(iteration)], iteration)
    with pytest.raises(DgaugError, match=r"is capturing; resume without it: --resume --set behaviour.graphs=false"):
        model.step([batch_of(WARM_UP)], WARM_UP)
