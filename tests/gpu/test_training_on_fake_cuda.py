"""A DG-Net iteration with tensors that claim a GPU: nothing waits for it, and few kernels are launched."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from fake_cuda import GPU, fake_gpu

from dgaug.distributed import Processes
from dgaug.models.reid import ReidNetwork
from dgaug.settings import load_settings
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import Batch
from dgaug.training.networks import build_networks

SIDE, CLASSES = 4, 6
SMALL = ["model.weights=none", "data.height=64", "data.width=32", "model.backbone=resnet50", "model.embedding=16"]
EVERYTHING_RAMPED = 50_000


@pytest.mark.parametrize(
    ("settings", "kernels"),
    [
        (("behaviour.precision=fp32",), 2943),
        (("behaviour.precision=bf16",), 3595),
        (("behaviour.precision=bf16", "behaviour.arithmetic=published"), 3737),
        (("behaviour.code_statistics=batch", "behaviour.teacher_statistics=batch"), 4673),
        (("model.discriminator=paired", "behaviour.precision=bf16"), 3011),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, tuple) else "",
)
def test_an_iteration_waits_for_nothing(
    monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], kernels: int
) -> None:
    """Forward passes and updates; the backward passes are not counted, because there is no gradient here."""
    chosen = load_settings("market1501", overrides=[*SMALL, *settings])
    with fake_gpu(monkeypatch) as gpu:
        networks = build_networks(chosen, CLASSES)
        networks.teacher = ReidNetwork("resnet50", CLASSES, dropouts=(0.5,), pool="avg").requires_grad_(False)
        model = DGNet(networks.to(GPU), chosen, Processes(torch.device("cuda")))
        images, positives = torch.randn(2, 2 * SIDE, 3, 64, 32, device=GPU)
        batch = Batch(images, positives, torch.randint(CLASSES, (2 * SIDE,), device=GPU))
        model.step([batch], EVERYTHING_RAMPED)  # optimisers make their state
        gpu.clear()
        report = model.step([batch], EVERYTHING_RAMPED)
        assert +gpu.waits == Counter()
        assert gpu.kernels <= kernels
        assert {one.device for network in networks.present() for one in network.parameters()} == {GPU}
        assert report["total"] is not None
        assert +gpu.waits == {"tolist": 1}, "reading the terms"


@pytest.mark.parametrize("arithmetic", ["fast", "published"])
def test_what_learns_and_the_teacher_as_it_computes_are_compiled(
    monkeypatch: pytest.MonkeyPatch, arithmetic: str
) -> None:
    overrides = ["behaviour.precision=bf16", "behaviour.compile=true", f"behaviour.arithmetic={arithmetic}"]
    chosen = load_settings("market1501", overrides=[*SMALL, *overrides])
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    with fake_gpu(monkeypatch):
        networks = build_networks(chosen, CLASSES)
        networks.teacher = ReidNetwork("resnet50", CLASSES, dropouts=(0.5,), pool="avg").requires_grad_(False)
        model = DGNet(networks.to(GPU), chosen, Processes(torch.device("cuda")))
        teacher = model.terms._teacher
    generator = networks.generator
    learning = [generator.structure_encoder, generator.decoder, networks.discriminator, networks.appearance.backbone]
    assert compiled == ([*learning, teacher] if arithmetic == "fast" else [])
    assert teacher is not networks.teacher
