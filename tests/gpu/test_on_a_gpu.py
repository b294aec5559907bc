"""What only a real card can show: `make test-gpu`.

`DGAUG_GPU_TESTS_ON=cpu` runs the bodies on the CPU, where most of them hold by definition: it shows that they run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import RunCommand, assert_same_checkpoint, tensors_of, tiny_settings, write_config
from torch import Tensor, nn

import dgaug as library
from dgaug.cuda_math import exact_products, tf32_is_on, training_math
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.files import read_json
from dgaug.models.checkpoints import load_reid
from dgaug.models.import_network import import_network
from dgaug.models.reid import ReidNetwork
from dgaug.runs import Run
from dgaug.settings import BehaviourSettings, Settings
from dgaug.store.read import open_store
from dgaug.training.dgnet import DGNet
from dgaug.training.graphs import WARM_UP
from dgaug.training.losses import Batch
from dgaug.training.networks import build_networks
from dgaug.training.trials import dgnet_trial, require_room

pytestmark = pytest.mark.gpu
CLASSES, SIDE, CPU = 5, 4, torch.device("cpu")


@pytest.fixture
def device() -> torch.device:
    chosen = os.environ.get("DGAUG_GPU_TESTS_ON")
    if chosen is None and not torch.cuda.is_available():
        pytest.skip("no CUDA device; DGAUG_GPU_TESTS_ON=cpu runs the bodies on the CPU")
    return torch.device(chosen or "cuda:0")


@pytest.fixture
def card(device: torch.device) -> torch.device:
    if device.type != "cuda":
        pytest.skip("only a card shows it")
    return device


def settings_of(**behaviour: object) -> Settings:
    return tiny_settings(
        model={"prim_dropout": 0, "fine_dropout": 0},
        loss={"structure_branch": 1.0},  # one kind of iteration, so that graphs are recorded soon
        schedule={"batch_size": SIDE},
        behaviour=behaviour,
    )


def model_on(device: torch.device, settings: Settings) -> DGNet:
    """The same weights everywhere."""
    torch.manual_seed(0)
    networks = build_networks(settings, CLASSES)
    networks.teacher = ReidNetwork("small", CLASSES, dropouts=(0.0,), pool="avg", embedding=16)
    for reid in (networks.appearance, networks.teacher):
        for head in reid.heads:
            nn.init.normal_(head.classify.weight)
    return DGNet(networks.to(device), settings, Processes(device))


def batch_on(device: torch.device, seed: int = 1) -> Batch:
    """The same batch everywhere."""
    random = torch.Generator().manual_seed(seed)
    images, positives = torch.randn(2, 2 * SIDE, 3, 64, 32, generator=random).to(device)
    return Batch(images, positives, (torch.arange(2 * SIDE) % CLASSES).to(device))


def terms_of_iterations(settings: Settings, device: torch.device, count: int) -> list[dict[str, float]]:
    """Terms of the last iterations of a schedule."""
    model, end = model_on(device, settings), settings.schedule.iterations
    return [dict(model.step([batch_on(device, seed)], end - count + seed)) for seed in range(count)]


def one_iteration(settings: Settings, device: torch.device) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Terms and the gradients of each trained network, on the CPU, of the same weights and batch everywhere."""
    model = model_on(device, settings)
    networks = model.networks
    terms = dict(model.step([batch_on(device)], settings.schedule.iterations - 1))
    gradients = {
        name: torch.cat([p.grad.flatten().double().cpu() for p in network.parameters() if p.grad is not None])
        for name, network in networks.saved().items()
        if name != "averaged"
    }
    return terms, gradients


def same(result: dict[str, float], expected: dict[str, float], *, tolerance: float) -> None:
    assert result.keys() == expected.keys()
    apart = {
        name: (result[name], value) for name, value in expected.items() if not near(result[name], value, tolerance)
    }
    assert apart == {}


def near(result: float, expected: float, tolerance: float) -> bool:
    return abs(result - expected) <= tolerance * max(1e-3, abs(expected))


def test_terms_and_gradients_are_those_of_the_cpu(device: torch.device) -> None:
    settings = settings_of(tf32=False)
    with exact_products():
        expected, theirs = one_iteration(settings, CPU)
        result, ours = one_iteration(settings, device)
    same(result, expected, tolerance=1e-3)
    for name, gradient in theirs.items():
        # Where a maximum or a rectifier is passed, rounding decides the way (dgaug/models/blocks.py).
        assert float((ours[name] - gradient).norm() / gradient.norm()) < 0.05, name


@pytest.mark.parametrize("setting", ["tf32", "precision", "deterministic"])
def test_other_ways_to_compute_give_about_the_same_terms(device: torch.device, setting: str) -> None:
    chosen = settings_of(**{setting: "bf16" if setting == "precision" else True})
    expected, _ = one_iteration(settings_of(tf32=False), CPU)
    with training_math(chosen.behaviour, device):
        result, _ = one_iteration(chosen, device)
    same(result, expected, tolerance=0.1 if setting == "precision" else 0.02)


def test_recorded_iterations_train_like_ordinary_ones(device: torch.device) -> None:
    made = []
    for graphs in (False, True):  # without atomic additions, whose order a few updates make visible
        settings = settings_of(tf32=False, deterministic=True, graphs=graphs)
        with training_math(settings.behaviour, device):
            made.append(terms_of_iterations(settings, device, WARM_UP + 3))
    for iteration, (expected, result) in enumerate(zip(*made, strict=True)):
        apart = {name: (result[name], value) for name, value in expected.items() if not near(result[name], value, 1e-5)}
        assert apart == {}, f"iteration {iteration}"


def test_tf32_is_on_in_training_and_off_elsewhere(card: torch.device) -> None:
    left, right = torch.randn(2, 512, 512, device=card)
    with exact_products():
        exact = left @ right
    with training_math(BehaviourSettings(), card):
        assert tf32_is_on()
        fast = left @ right
    if torch.cuda.get_device_capability(card) >= (8, 0):
        assert not torch.equal(exact, fast)
    torch.testing.assert_close(exact.cpu(), left.cpu() @ right.cpu(), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("deterministic", [True, False])
def test_a_resumed_run(device: torch.device, tmp_path: Path, *, deterministic: bool) -> None:
    config = write_config(
        tmp_path / "tiny.yaml", behaviour={"deterministic": deterministic}, schedule={"iterations": 8, "batch_size": 4}
    )
    whole = library.train(config=config, out=tmp_path / "whole", device=str(device))
    cut = Run(tmp_path / "cut")
    shutil.copytree(whole.folder, cut.folder)
    shutil.copyfile(cut.folder / "checkpoints/00000004.pt", cut.checkpoint)
    library.train(out=cut.folder, resume=True, device=str(device))
    if deterministic:
        assert_same_checkpoint(whole.checkpoint, cut.checkpoint)
        return
    one, other = (torch.load(run.checkpoint, weights_only=True, map_location="cpu") for run in (whole, cut))
    mine, theirs = tensors_of(one["networks"]), tensors_of(other["networks"])
    for name, value in mine.items():
        torch.testing.assert_close(value.float(), theirs[name].float(), atol=2e-2, rtol=2e-2, msg=name)


def test_a_run_says_what_it_computed_with(device: torch.device, tmp_path: Path) -> None:
    run = library.train(config=write_config(tmp_path / "tiny.yaml"), out=tmp_path / "run", device=str(device))
    recorded = read_json(run.folder / "environment.json")
    on_a_card = device.type == "cuda"
    assert recorded["tf32"] is (True if on_a_card else None)
    if on_a_card:
        assert recorded["device"] == torch.cuda.get_device_name(device)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-labels"])
def test_a_store_verifies_and_agrees_with_the_cpus(
    device: torch.device, tiny_run: Run, tmp_path: Path, precision: str
) -> None:
    made = {}
    for name in ("cpu", str(device)):
        store = library.synthesize(
            tiny_run.folder, pairs="random:24", codec="png", precision=precision, out=tmp_path / name, device=name
        ).store
        assert library.verify(store).findings == []
        made[name] = np.stack([item.image for item in open_store(store)]).astype(int)
    apart = np.abs(made["cpu"] - made[str(device)])
    assert apart.max() <= (1 if precision == "fp32" else 4)
    assert apart.mean() < 0.5


def test_an_online_feed(device: torch.device, tiny_run: Run, tmp_path: Path) -> None:
    result = library.train_reid(tiny_run.folder, feed="online", twin=False, out=tmp_path / "reid", device=str(device))
    (row,) = result["runs"]
    assert 0 < row["ranking"]["both"]["sum_valid_queries/mAP"] <= 1


def test_figures_are_those_of_the_cpu(device: torch.device, tiny_run: Run) -> None:
    expected, result = (
        library.evaluate_reid(tiny_run.teacher, tiny_run.data_root(), device=name) for name in ("cpu", str(device))
    )
    for feature, ranking in expected.ranking["single-query"].items():
        for name, value in ranking.items():
            assert result.ranking["single-query"][feature][name] == pytest.approx(value, abs=1e-3), (feature, name)


class WithConstants(nn.Module):
    """Makes tensors of its own in every pass, as many networks from elsewhere do."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Linear(3, 4)

    def forward(self, images: Tensor) -> Tensor:
        mean = images.mean(dim=(2, 3)) - torch.tensor([0.4, 0.5, 0.6])
        return self.classify(mean + torch.ones(3))


def test_a_network_from_elsewhere(device: torch.device, tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    network = load_reid(import_network(WithConstants(), tmp_path / "a.pt", class_names=names, image_size=(64, 32)))
    images = torch.randn(3, 3, 64, 32)
    expected = network.network(images).logits[0]
    result = network.network.to(device)(images.to(device)).logits[0]
    torch.testing.assert_close(result.cpu(), expected, atol=1e-3, rtol=1e-3)


def test_the_device_of_a_command(device: torch.device, tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    out = tmp_path / "grid.png"
    assert dgaug("grid", "--run", tiny_run.folder, "--device", str(device), "--out", out).code == 0
    assert out.is_file()
    output = dgaug("grid", "--run", tiny_run.folder, "--device", "cuda:4096", "--out", tmp_path / "b.png").error()
    assert "--device cuda:4096" in output


def test_too_little_memory_is_said_with_what_fits(card: torch.device) -> None:
    settings = tiny_settings(data={"height": 256, "width": 128}, model={"width": 1.0}, schedule={"batch_size": 64})
    teacher = ReidNetwork("small", CLASSES, dropouts=(0.0,), pool="avg", embedding=16)
    processes = Processes(card)
    whole = torch.cuda.get_device_properties(card).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 4e9 / whole), card)
    try:
        with pytest.raises(DgaugError, match=r"too little memory for schedule: 64 .* --set schedule.accumulation=\d+"):
            require_room(dgnet_trial(settings, CLASSES, teacher, processes), settings.schedule, "schedule", processes)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, card)
