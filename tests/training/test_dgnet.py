"""One iteration of DG-Net: which term teaches which network, and what an update touches."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable

import pytest
import torch
from tiny_run import tiny_settings
from torch import nn

from dgaug.models.reid import ReidNetwork
from dgaug.settings import LossSettings
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import Batch
from dgaug.training.networks import build_networks

CLASSES, B = 4, 2
ITERATION = 7  # every ramp of the tiny schedule is at its end
OFF = {name: 0.0 for name, field in LossSettings.model_fields.items() if name not in ("erasing", "structure_branch")}
DRAWS = {"structure", "decoder", "adain"}


def make_model(behaviour: dict[str, object] | None = None, **loss: float) -> DGNet:
    torch.manual_seed(0)
    settings = tiny_settings(loss=loss, behaviour=behaviour or {})
    networks = build_networks(settings, CLASSES)
    networks.teacher = ReidNetwork("small", CLASSES, dropouts=(0.5,), pool="avg", embedding=16)
    return DGNet(networks, settings)


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    images, positives = torch.randn(2, 2 * B, 3, 64, 32, generator=generator)
    return Batch(images, positives, torch.tensor([0, 1, 2, 3]))


def has_gradient(parameters: Iterable[nn.Parameter]) -> bool:
    return any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in parameters)


def taught(model: DGNet) -> set[str]:
    """The parts that the last generator step gave a gradient."""
    generator, appearance = model.networks.generator, model.networks.appearance
    parts = {
        "structure": generator.structure_encoder,
        "decoder": generator.decoder,
        "adain": generator.adain,
        "backbone": appearance.backbone,
        "prim": appearance.heads[0],
        "fine": appearance.heads[1],
    }
    return {name for name, part in parts.items() if has_gradient(part.parameters())}


@pytest.mark.parametrize(
    ("loss", "parts"),
    [
        ({"reconstruction": 5}, DRAWS),
        ({"same_identity": 5}, DRAWS),
        ({"adversarial": 1}, DRAWS),
        ({"identification": 1}, {"backbone", "prim"}),
        ({"positive": 1}, {"backbone", "prim"}),
        ({"generated_identity": 0.5}, DRAWS),
        ({"structure_code": 1, "structure_branch": 1}, {"structure"}),
        ({"structure_code": 1, "structure_branch": 0}, DRAWS),
        ({"appearance_code": 1}, DRAWS),
        ({"cycle": 2, "structure_branch": 1}, DRAWS),
        ({"cycle": 2, "structure_branch": 0}, DRAWS),
        ({"teacher": 2}, {"backbone", "prim"}),
        ({"teacher": 2, "fine": 0.2}, {"backbone", "prim", "fine"}),
    ],
    ids=lambda value: "+".join(f"{name}={weight}" for name, weight in value.items()) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("statistics", ["running", "batch"])
def test_each_term_teaches_the_published_networks(loss: dict[str, float], parts: set[str], statistics: str) -> None:
    model = make_model({"code_statistics": statistics, "teacher_statistics": statistics}, **OFF | loss)
    report = model.step([make_batch()], ITERATION)
    assert report["total"] != 0
    assert taught(model) == parts
    assert model.networks.teacher is not None
    assert not has_gradient(model.networks.teacher.parameters())
    assert not has_gradient(model.networks.generator_ema.parameters())


def test_the_fine_head_learns_from_real_anchors_once_the_ramp_began() -> None:
    model = make_model(**OFF | {"identification": 1, "teacher": 2, "fine": 0.2})
    model.networks.teacher = None
    assert "real_fine" in model.step([make_batch()], ITERATION)
    assert taught(model) == {"backbone", "prim", "fine"}
    assert "real_fine" not in model.step([make_batch()], 0)
    assert taught(model) == {"backbone", "prim"}


def test_the_generators_step_gives_the_discriminator_no_gradient() -> None:
    model = make_model()
    arrivals: list[str] = []
    for name, parameter in model.networks.discriminator.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: arrivals.append(name))
    model.step([make_batch()], ITERATION)
    assert set(Counter(arrivals).values()) == {2}, "only from the discriminator's own step: generated, then real"


def test_a_term_that_is_switched_off_is_absent_from_the_report() -> None:
    report = make_model(cycle=0, adversarial=0).step([make_batch()], ITERATION)
    assert not report.keys() & {"cycle", "adversarial", "discriminator", "gradient_penalty"}
    assert {"reconstruction", "structure_code", "teacher", "fine", "total"} <= report.keys()


def test_the_discriminator_learns_nothing_before_its_start() -> None:
    model = make_model()
    model.settings = model.settings.model_copy(
        update={"schedule": model.settings.schedule.model_copy(update={"adversarial_start": 0.5})}
    )
    before = {name: tensor.clone() for name, tensor in model.networks.discriminator.state_dict().items()}
    report = model.step([make_batch()], 0)
    assert not report.keys() & {"adversarial", "discriminator", "gradient_penalty"}
    assert all(torch.equal(before[name], t) for name, t in model.networks.discriminator.state_dict().items())
    assert {"adversarial", "discriminator"} <= model.step([make_batch()], ITERATION).keys()


def test_no_term_is_fed_back_without_a_teacher() -> None:
    model = make_model()
    model.networks.teacher = None
    assert not model.step([make_batch()], ITERATION).keys() & {"teacher", "fine"}


def test_the_total_is_the_weighted_sum_of_the_reported_terms() -> None:
    report = make_model().step([make_batch()], ITERATION)
    weights = {
        "adversarial": 1,
        "reconstruction": 5,
        "same_identity": 5,
        "identification": 1,
        "positive": 1,
        "generated_identity": 0.5,
        "structure_code": 1,
        "cycle": 2,
        "teacher": 2,
        "fine": 0.4,
        "real_fine": 0.4,
    }
    assert report["total"] == pytest.approx(sum(weight * report[name] for name, weight in weights.items()), rel=1e-5)


def test_a_step_is_a_function_of_networks_batch_and_iteration() -> None:
    first, second = make_model(), make_model()
    torch.manual_seed(99)
    reports = [first.step([make_batch()], ITERATION)]
    torch.manual_seed(7)
    reports.append(second.step([make_batch()], ITERATION))
    assert reports[0] == reports[1]
    states = [model.networks.appearance.state_dict() for model in (first, second)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_running_codes_depend_on_their_image_alone_and_leave_no_trace() -> None:
    model = make_model()
    images = make_batch().images
    encoder = model.networks.appearance
    before = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    codes = model.terms.appearance_codes(images)
    other = model.terms.appearance_codes(torch.cat([images[:1], torch.randn(3, 3, 64, 32)]))
    assert torch.allclose(codes[:1], other[:1], atol=1e-6)
    assert all(torch.equal(before[name], buffer) for name, buffer in encoder.named_buffers())


def test_batch_codes_take_each_side_as_a_batch_of_its_own() -> None:
    model = make_model({"code_statistics": "batch"})
    images = make_batch().images
    codes = model.terms.appearance_codes(images)
    other = model.terms.appearance_codes(torch.cat([images[:B], torch.randn(B, 3, 64, 32)]))
    assert torch.allclose(codes[:B], other[:B], atol=1e-6)
    assert not torch.allclose(codes[:1], model.terms.appearance_codes(images[[0, 2, 1, 3]])[:1], atol=1e-4)


def test_a_label_depends_on_its_image_alone_unless_the_published_way_is_asked_for() -> None:
    for statistics, training in (("running", False), ("batch", True)):
        model = make_model({"teacher_statistics": statistics})
        model.step([make_batch()], ITERATION)
        assert model.networks.teacher is not None
        assert model.networks.teacher.training is training


def test_the_average_follows_the_generator_slowly_and_only_that() -> None:
    model = make_model()
    generator, averaged = model.networks.generator, model.networks.generator_ema
    before = [parameter.clone() for parameter in averaged.parameters()]
    model.step([make_batch()], 0)
    decay = min(model.settings.optimizer.ema, 1 / 10)
    for old, mean, new in zip(before, averaged.parameters(), generator.parameters(), strict=True):
        assert torch.allclose(mean, decay * old + (1 - decay) * new, atol=1e-6)


def test_without_averaging_the_average_is_the_last_generator() -> None:
    model = make_model()
    model.settings = model.settings.model_copy(
        update={"optimizer": model.settings.optimizer.model_copy(update={"ema": 0.0})}
    )
    model.step([make_batch()], 3)
    pairs = zip(model.networks.generator_ema.parameters(), model.networks.generator.parameters(), strict=True)
    assert all(torch.equal(mean, value) for mean, value in pairs)


def test_learning_rates_follow_the_schedule_in_every_optimizer() -> None:
    model = make_model()
    model.step([make_batch()], 0)
    first = {name: [group["lr"] for group in o.param_groups] for name, o in model.optimizers.items()}
    assert first == {"generator": [1e-4], "discriminator": [1e-4], "appearance": [0.002, 0.02]}
    model.step([make_batch()], ITERATION)  # after both milestones of eight iterations
    for name, optimizer in model.optimizers.items():
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([rate / 100 for rate in first[name]])


def test_a_loss_that_is_not_finite_stops_before_it_updates_anything() -> None:
    model = make_model(adversarial=0)
    batch = make_batch()
    before = {name: tensor.clone() for name, tensor in model.networks.generator.state_dict().items()}
    with pytest.raises(FloatingPointError, match="is not finite"):
        model.step([batch._replace(images=batch.images * torch.nan)], ITERATION)
    after = model.networks.generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_half_precision_trains_to_nearly_the_same_terms() -> None:
    exact, half = (
        make_model({"precision": precision}).step([make_batch()], ITERATION) for precision in ("fp32", "bf16")
    )
    assert exact.keys() == half.keys()
    assert half["reconstruction"] == pytest.approx(exact["reconstruction"], rel=0.05)
    assert half != exact


def test_clipping_shortens_the_step_of_every_optimizer() -> None:
    model = make_model()
    model.settings = model.settings.model_copy(
        update={"optimizer": model.settings.optimizer.model_copy(update={"clip": 1e-3})}
    )
    model.step([make_batch()], ITERATION)
    for optimizer in model.optimizers.values():
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        assert torch.stack([gradient.norm() for gradient in gradients]).norm() <= 1.001e-3


def test_a_warm_up_starts_at_a_tenth_of_every_rate() -> None:
    model = make_model()
    model.settings = model.settings.model_copy(
        update={"optimizer": model.settings.optimizer.model_copy(update={"warmup": 0.5})}
    )
    model.step([make_batch()], 0)
    rates = {name: [group["lr"] for group in o.param_groups] for name, o in model.optimizers.items()}
    assert rates["generator"] == pytest.approx([1e-5])
    assert rates["appearance"] == pytest.approx([0.0002, 0.002])


def test_frozen_statistics_stay_and_make_a_row_independent_of_its_batch() -> None:
    model = make_model({"appearance_statistics": "frozen"})
    before = {name: buffer.clone() for name, buffer in model.networks.appearance.named_buffers()}
    model.step([make_batch()], ITERATION)
    after = dict(model.networks.appearance.named_buffers())
    assert len(before) > 5
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("labels", [(0, 1, 2, 3), (0, 1, 0, 3)], ids=["strangers", "one partner of the same identity"])
def test_a_paired_discriminator_rejects_generated_images_and_strangers(labels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    settings = tiny_settings(model={"discriminator": "paired"}, loss=OFF | {"adversarial": 1.0})
    networks = build_networks(settings, CLASSES)
    model, batch = DGNet(networks, settings), make_batch()._replace(labels=torch.tensor(labels))
    critic, generator, others = copy.deepcopy(networks.discriminator), networks.generator, batch.positives
    wanted = torch.tensor([float(labels[k] == labels[(k + B) % (2 * B)]) for k in range(2 * B)]).view(-1, 1, 1, 1)
    with torch.no_grad():
        codes = networks.appearance.eval()(batch.images).appearance
        fakes = generator(generator.structure(batch.images).roll(B, 0), codes)
        (fake,), (stranger,) = critic(fakes, others), critic(batch.images, others.roll(B, 0))
        (real,) = critic(batch.images, others)
        rejected = (fake.square().mean() + (stranger - wanted).square().mean()) / 2
        error = 2 * (rejected + (real - 1).square().mean())
    report = model.step([batch], ITERATION)
    assert report["discriminator"] == pytest.approx(float(error), rel=1e-4)
    (after,) = networks.discriminator(fakes, others)
    assert report["adversarial"] == pytest.approx(4 * float((after.detach() - 1).square().mean()), rel=1e-4)
