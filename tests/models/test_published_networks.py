"""Networks and losses against the numbers that the published implementation gives for seeded checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dgaug.errors import DgaugError
from dgaug.models import published
from dgaug.models.blocks import arithmetic
from dgaug.models.reid import ReidNetwork, soft_labels
from dgaug.settings import load_settings
from dgaug.training import losses
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import Batch
from dgaug.training.networks import Networks, build_networks

PARITY = Path(__file__).parents[1] / "parity"
CLASSES, SEED = 751, 1
TOLERANCE = 1e-4
AFTER_RAMPS = 50_000
EXPECTED_THREADS = 2
"""With which the expected numbers were made; the order of a sum depends on it."""
CANCELLED = ("enc_content.model.0.conv.bias",)
"""Biases that instance norm cancels, so their true gradient is 0; the expected norm is the sum of its rounding."""
NOISE = 1e-3

Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def seeded() -> Iterator[dict[str, Tensors]]:
    """The seeded checkpoints in the published format, and the inputs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(PARITY)])
        import seeded_checkpoints

        files = {net: seeded_checkpoints.state_dict(SEED, net) for net in ("gen", "id", "dis", "teacher")}
        yield files | {"inputs": seeded_checkpoints.inputs(SEED)}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(PARITY / f"expected_seed{SEED}.npz") as file:
        return dict(file)


def published_networks(seeded: dict[str, Tensors], *, structure_branch: float = 0.5) -> tuple[Networks, DGNet]:
    settings = load_settings(
        "dgnet-published",
        overrides=[
            "model.weights=none",
            "model.prim_dropout=0",
            "model.fine_dropout=0",
            "loss.erasing=0",
            f"loss.structure_branch={structure_branch}",
        ],
    )
    networks = build_networks(settings, CLASSES)
    networks.teacher = ReidNetwork("resnet50", CLASSES, dropouts=(0.0,), pool="avg")
    published.load_generator(networks.generator, seeded["gen"])
    published.load_discriminator(networks.discriminator, seeded["dis"])
    published.load_reid(networks.appearance, seeded["id"])
    published.load_reid(networks.teacher, seeded["teacher"])
    return networks, DGNet(networks, settings)


@pytest.fixture(scope="module")
def networks(seeded: dict[str, Tensors]) -> Networks:
    """All published networks in eval mode."""
    result, _ = published_networks(seeded)
    for network in (result.generator, result.appearance, result.discriminator, result.teacher):
        assert network is not None
        network.eval().requires_grad_(False)
    return result


def relative(result: Tensor, wanted: np.ndarray) -> float:
    target = torch.from_numpy(wanted)
    assert result.shape == target.shape
    return float((result.detach() - target).norm() / target.norm())


@pytest.fixture(scope="module")
def drawn(networks: Networks, seeded: dict[str, Tensors]) -> Tensors:
    """What the networks make of the two inputs, by the name of the expected number."""
    x_a, x_b = seeded["inputs"]["x_a"], seeded["inputs"]["x_b"]
    teacher = networks.teacher
    assert teacher is not None
    structure, seen = networks.generator.structure(x_a), networks.appearance(x_b)
    fake = networks.generator(structure, seen.appearance)
    result = {
        "structure(x_a)": structure,
        "appearance(x_b)": seen.appearance,
        "prim(x_b)": seen.logits[0],
        "fine(x_b)": seen.logits[1],
        "decode(x_a,x_b)": fake,
        "teacher_logits(x_b)": teacher(x_b).logits[0],
        "teacher_q(fake)": soft_labels(teacher, fake),
        "reid_feature(x_b)": networks.appearance.features(x_b),
    }
    return result | {f"D{scale}(fake)": maps for scale, maps in enumerate(networks.discriminator(fake))}


def test_networks_return_the_published_numbers(drawn: Tensors, expected: dict[str, np.ndarray]) -> None:
    errors = {name: relative(tensor, expected[name]) for name, tensor in drawn.items()}
    assert len(errors) == 11
    assert {name: error for name, error in errors.items() if not error < TOLERANCE} == {}


def test_adversarial_losses_return_the_published_numbers(
    networks: Networks, drawn: Tensors, seeded: dict[str, Tensors], expected: dict[str, np.ndarray]
) -> None:
    real = seeded["inputs"]["x_a"].clone().requires_grad_()
    fake_scores = networks.discriminator(drawn["decode(x_a,x_b)"])
    real_scores = networks.discriminator(real)
    penalty = 0.01 * losses.gradient_penalty(real_scores, real)
    result = {
        "D_loss": losses.patch_error(real_scores, 1) + losses.patch_error(fake_scores, 0) + penalty,
        "D_r1": penalty,
        "G_adv": losses.adversarial(fake_scores),
    }
    for name, term in result.items():
        one_side = float(term.detach()) / losses.SIDES
        assert one_side == pytest.approx(float(expected[name]), rel=TOLERANCE), name


def test_nothing_of_the_published_files_is_left_unread_but_what_is_never_used(
    networks: Networks, seeded: dict[str, Tensors]
) -> None:
    generator = published.load_generator(networks.generator, seeded["gen"])
    assert generator
    assert all(name.endswith(("running_mean", "running_var")) for name in generator)
    assert published.load_discriminator(networks.discriminator, seeded["dis"]) == []
    assert published.load_reid(networks.appearance, seeded["id"]) == ["model.fc.bias", "model.fc.weight"]


def test_a_discriminator_file_of_several_gpus_reads_like_the_others(
    networks: Networks, seeded: dict[str, Tensors]
) -> None:
    prefixed = {f"module.{name}": tensor for name, tensor in seeded["dis"].items()}
    assert published.load_discriminator(networks.discriminator, prefixed) == []


def test_extra_tensors_are_named_and_missing_ones_refused(networks: Networks, seeded: dict[str, Tensors]) -> None:
    extra = seeded["dis"] | {"cnns.0.theta.weight": torch.zeros(1)}
    assert published.load_discriminator(networks.discriminator, extra) == ["cnns.0.theta.weight"]
    lacking = {name: tensor for name, tensor in seeded["gen"].items() if name != "mlp_w3.model.1.fc.bias"}
    with pytest.raises(DgaugError, match=r"tensor 'mlp_w3\.model\.1\.fc\.bias' is missing"):
        published.load_generator(networks.generator, lacking)
    wrong = seeded["dis"] | {"cnns.0.0.conv.weight": torch.zeros(1)}
    with pytest.raises(DgaugError, match="do not fit"):
        published.load_discriminator(networks.discriminator, wrong)


def sides(table: dict[str, np.ndarray], branch: str, *names: str) -> float:
    return sum(float(table[f"train_{branch}/{name}"]) for name in names)


@pytest.fixture
def _expected_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(EXPECTED_THREADS)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_expected_threads")
@pytest.mark.parametrize(("branch", "structure_branch"), [("live", 1.0), ("frozen", 0.0)])
def test_a_whole_iteration_returns_the_published_losses_and_gradients(
    seeded: dict[str, Tensors], expected: dict[str, np.ndarray], branch: str, structure_branch: float
) -> None:
    result, model = published_networks(seeded, structure_branch=structure_branch)
    rounds_alike = rounds_as_expected(result, seeded, expected)
    x = seeded["inputs"]
    batch = Batch(*(torch.cat([x[f"{name}_a"], x[f"{name}_b"]]) for name in ("x", "xp", "l")))
    report = model.step([batch], AFTER_RAMPS)
    terms = {
        "discriminator": (report["discriminator"] + 0.01 * report["gradient_penalty"], ["loss_dis_total"]),
        "adversarial": (report["adversarial"], ["loss_gen_adv_a", "loss_gen_adv_b"]),
        "reconstruction": (report["reconstruction"], ["loss_gen_recon_x_a", "loss_gen_recon_x_b"]),
        "same identity": (report["same_identity"], ["loss_gen_recon_xp_a", "loss_gen_recon_xp_b"]),
        "structure code": (report["structure_code"], ["loss_gen_recon_s_a", "loss_gen_recon_s_b"]),
        "cycle": (report["cycle"], ["loss_gen_cycrecon_x_a", "loss_gen_cycrecon_x_b"]),
        "identification": (report["identification"] + 0.4 * report["real_fine"], ["loss_id"]),
        "positive": (report["positive"], ["loss_pid"]),
        "generated identity": (report["generated_identity"], ["loss_gen_recon_id"]),
        "teacher": (report["teacher"] + 0.2 * report["fine"], ["loss_teacher"]),
    }
    for name, (value, keys) in terms.items():
        assert value == pytest.approx(sides(expected, branch, *keys), rel=TOLERANCE), name
    without_gradient = sides(expected, branch, "loss_gen_recon_f_a", "loss_gen_recon_f_b")
    total = sides(expected, branch, "loss_gen_total") - without_gradient
    assert report["total"] == pytest.approx(total, rel=TOLERANCE)
    assert_gradient_norms(result, expected, branch, 1e-3 if rounds_alike else 0.03)


def rounds_as_expected(result: Networks, seeded: dict[str, Tensors], expected: dict[str, np.ndarray]) -> bool:
    """Whether this processor's kernels give the image of `expected` to the last bit.

    Where they do not, a unit at the edge of a rectifier or a maximum goes another way, and gradients differ by more
    than the tolerance: by 0.7 % when the inputs are changed by 1e-7 of themselves.
    """
    with torch.no_grad(), arithmetic("published"):
        structure, code = (torch.from_numpy(expected[name]) for name in ("structure(x_a)", "appearance(x_b)"))
        return torch.equal(result.generator(structure, code), torch.from_numpy(expected["decode(x_a,x_b)"]))


def assert_gradient_norms(result: Networks, expected: dict[str, np.ndarray], branch: str, tolerance: float) -> None:
    wanted = {
        str(name): float(norm)
        for part in ("gen", "id")
        for name, norm in zip(
            expected[f"train_{branch}/gradnames_{part}"], expected[f"train_{branch}/gradnorms_{part}"], strict=True
        )
    }
    seen = dict(gradient_norms(result))
    assert seen.keys() == wanted.keys()
    off = {
        name: (norm, wanted[name])
        for name, norm in seen.items()
        if abs(norm - wanted[name]) > max(tolerance * wanted[name], NOISE if name in CANCELLED else 1e-4)
    }
    assert off == {}


def gradient_norms(result: Networks) -> Iterator[tuple[str, float]]:
    """Norms of the gradients that the last step left, by published name."""
    generator = {name: parameter.grad for name, parameter in result.generator.named_parameters()}
    for ours, theirs in published.generator_table().items():
        yield theirs, norm_of(generator[ours])
    for layer in range(3):
        for leaf, stacked in (("weight", f"adain.weights.{layer}"), ("bias", f"adain.biases.{layer}")):
            gradients = generator[stacked]
            assert gradients is not None
            for name, gradient in zip(published.MLPS, gradients, strict=True):
                yield f"{name}.model.{layer}.fc.{leaf}", norm_of(gradient)
    table = published.reid_table(result.appearance)
    for name, parameter in result.appearance.named_parameters():
        yield table[name], norm_of(parameter.grad)


def norm_of(gradient: Tensor | None) -> float:
    assert gradient is not None
    return float(gradient.norm())
