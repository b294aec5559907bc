"""Where networks start: fresh, from the teacher, or from a pretrained file."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_run import tiny_settings

from dgaug.errors import DgaugError
from dgaug.models import checkpoints
from dgaug.runs import Run
from dgaug.training.initial_weights import ship, start_from
from dgaug.training.networks import Networks, build_networks


def networks_of(run: Run, classes: int = 6, **model: object) -> Networks:
    networks = build_networks(tiny_settings(model=model), classes)
    networks.teacher = checkpoints.load_reid(run.teacher).network
    return networks


def same(left: torch.nn.Module, right: torch.nn.Module) -> bool:
    mine, theirs = left.state_dict(), right.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture
def shipped(tiny_run: Run, tmp_path: Path) -> Path:
    path = tmp_path / "start.safetensors"
    ship(tiny_run.folder, path)
    return path


def test_the_appearance_encoder_starts_from_the_trained_teacher(tiny_run: Run) -> None:
    networks = networks_of(tiny_run)
    assert networks.teacher is not None
    assert not same(networks.appearance.backbone, networks.teacher.backbone)
    start_from(networks, tiny_settings())
    assert same(networks.appearance.backbone, networks.teacher.backbone)


def test_the_published_way_leaves_it_at_the_backbones_weights(tiny_run: Run) -> None:
    networks = networks_of(tiny_run)
    assert networks.teacher is not None
    start_from(networks, tiny_settings(behaviour={"appearance_start": "weights"}))
    assert not same(networks.appearance.backbone, networks.teacher.backbone)


def test_a_shipped_generator_draws_like_the_average_of_its_run(tiny_run: Run, shipped: Path) -> None:
    networks = networks_of(tiny_run)
    start_from(networks, tiny_settings(model={"start": str(shipped)}))
    model = checkpoints.load_generator(tiny_run.checkpoint)
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        expected = model.generator(model.generator.structure(images), model.appearance(images).appearance)
        appearance = networks.appearance.eval()(images).appearance
        result = networks.generator(networks.generator.structure(images), appearance)
    assert (result - expected).norm() / expected.norm() < 0.02
    assert same(networks.generator_ema, networks.generator)


def test_a_shipped_generator_is_half_precision_and_knows_no_identities(tiny_run: Run, shipped: Path) -> None:
    tensors = load_file(shipped)
    assert {name.split(".")[0] for name in tensors} == {"generator", "appearance", "discriminator"}
    assert not any(".classify." in name for name in tensors)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16, torch.int64}
    networks = networks_of(tiny_run, classes=9)
    start_from(networks, tiny_settings(model={"start": str(shipped)}))
    assert networks.appearance.heads[0].classify.out_features == 9


def test_a_file_for_other_networks_is_refused_with_the_tensor(tiny_run: Run, shipped: Path) -> None:
    with pytest.raises(DgaugError, match=r"does not fit these networks \(tensor generator\..*--from-scratch"):
        start_from(networks_of(tiny_run, width=0.5), tiny_settings(model={"width": 0.5, "start": str(shipped)}))
    tensors = load_file(shipped)
    del tensors["discriminator.scales.0.score.bias"]
    save_file(tensors, shipped)
    with pytest.raises(DgaugError, match=r"tensor discriminator\.scales\.0\.score\.bias"):
        start_from(networks_of(tiny_run), tiny_settings(model={"start": str(shipped)}))


def test_a_discriminator_of_another_kind_starts_from_random_weights(
    tiny_run: Run, shipped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def start(kind: str, path: Path) -> Networks:
        networks = networks_of(tiny_run, discriminator=kind)
        before = copy.deepcopy(networks.discriminator)
        start_from(networks, tiny_settings(model={"discriminator": kind, "start": str(path)}))
        assert same(networks.discriminator, before)
        assert same(networks.generator_ema, networks.generator)
        assert not same(networks.generator, networks_of(tiny_run).generator)
        return networks

    with caplog.at_level("INFO"):
        strided = start("strided", shipped)
        assert caplog.text.count("another kind of discriminator") == 1
        given = load_file(shipped)
        kept = {name: tensor for name, tensor in given.items() if not name.startswith("discriminator.")}
        theirs = {f"discriminator.{name}": tensor for name, tensor in strided.discriminator.state_dict().items()}
        save_file(kept | theirs, tmp_path / "strided.safetensors")
        start("paired", tmp_path / "strided.safetensors")
        assert caplog.text.count("another kind of discriminator") == 2


def test_a_pretrained_file_that_is_not_there_is_named(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match=r"not found: .*gone\.safetensors; use --from-scratch"):
        start_from(networks_of(tiny_run), tiny_settings(model={"start": str(tmp_path / "gone.safetensors")}))
