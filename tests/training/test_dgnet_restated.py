"""One iteration against the same iteration written out side by side, term by term (method: generator-side total)."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_run import tiny_settings
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, l1_loss

from dgaug.models.reid import ReidNetwork, soft_labels
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import Batch
from dgaug.training.networks import Networks, build_networks

CLASSES, B = 4, 3
ITERATION = 7  # every ramp of the tiny schedule is at its end
WEIGHTS = {
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


def make_model(structure_branch: float) -> DGNet:
    torch.manual_seed(0)
    settings = tiny_settings(
        model={"prim_dropout": 0, "fine_dropout": 0}, loss={"erasing": 0, "structure_branch": structure_branch}
    )
    networks = build_networks(settings, CLASSES)
    for head in networks.appearance.heads:
        nn.init.normal_(head.classify.weight)
    networks.teacher = ReidNetwork("small", CLASSES, dropouts=(0.5,), pool="avg", embedding=16)
    nn.init.normal_(networks.teacher.heads[0].classify.weight)
    for network in (*networks.saved().values(), networks.teacher):
        network.double()  # so that no rectifier or maximum goes another way by rounding
    return DGNet(networks, settings)


def make_batch() -> Batch:
    images, positives = torch.randn(2, 2 * B, 3, 64, 32, generator=torch.Generator().manual_seed(1)).double()
    return Batch(images, positives, torch.tensor([0, 1, 2, 3, 3, 1]))


def frozen(network: nn.Module) -> nn.Module:
    """A copy that gives gradients to its input only."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def restated(networks: Networks, batch: Batch, *, encoder_learns: bool) -> dict[str, Tensor]:
    """The terms of sides a and b, added; `networks` as they were, but for the discriminator after its update."""
    g, e, d, teacher = networks.generator, networks.appearance, networks.discriminator, networks.teacher
    assert teacher is not None
    (x_a, x_b), (y_a, y_b), (p_a, p_b) = batch.images.chunk(2), batch.labels.chunk(2), batch.positives.chunk(2)
    f_a, f_b, q_a, q_b = (frozen(e)(x).appearance for x in (x_a, x_b, p_a, p_b))
    s_a, s_b = g.structure(x_a), g.structure(x_b)
    x_ba, x_ab = g(s_b, f_a), g(s_a, f_b)
    e.train()
    real_a, real_b, positive_a, positive_b = (e(x).logits for x in (x_a, x_b, p_a, p_b))
    seen_a, seen_b = frozen(e)(x_ba), frozen(e)(x_ab)  # with the running statistics of now
    live_a, live_b = e(x_ba.detach()).logits, e(x_ab.detach()).logits
    if encoder_learns:
        again_a, again_b = g.structure(x_ab.detach()), g.structure(x_ba.detach())
    else:
        again_a, again_b = (frozen(g.structure_encoder)(x.mean(dim=1, keepdim=True)) for x in (x_ab, x_ba))
    label_a, label_b = soft_labels(teacher.eval(), x_ba.detach()), soft_labels(teacher, x_ab.detach())
    return {
        "reconstruction": l1_loss(g(s_a, f_a), x_a) + l1_loss(g(s_b, f_b), x_b),
        "same_identity": l1_loss(g(s_a, q_a), x_a) + l1_loss(g(s_b, q_b), x_b),
        "adversarial": sum((2 * (maps - 1).square().mean() for x in (x_ba, x_ab) for maps in d(x)), torch.zeros(())),
        "identification": cross_entropy(real_a[0], y_a) + cross_entropy(real_b[0], y_b),
        "real_fine": cross_entropy(real_a[1], y_a) + cross_entropy(real_b[1], y_b),
        "positive": cross_entropy(positive_a[0], y_a) + cross_entropy(positive_b[0], y_b),
        "generated_identity": cross_entropy(seen_a.logits[0], y_a) + cross_entropy(seen_b.logits[0], y_b),
        "structure_code": l1_loss(again_a, s_a.detach()) + l1_loss(again_b, s_b.detach()),
        "cycle": l1_loss(g(again_a, seen_a.appearance.detach()), x_a)
        + l1_loss(g(again_b, seen_b.appearance.detach()), x_b),
        "teacher": kl_div(live_a[0].log_softmax(1), label_a, reduction="batchmean")
        + kl_div(live_b[0].log_softmax(1), label_b, reduction="batchmean"),
        "fine": cross_entropy(live_a[1], y_b) + cross_entropy(live_b[1], y_a),
    }


@pytest.mark.parametrize("structure_branch", [1.0, 0.0])
def test_an_iteration_is_the_sum_of_both_sides_term_by_term_and_in_its_gradients(structure_branch: float) -> None:
    model, batch = make_model(structure_branch), make_batch()
    before = copy.deepcopy(model.networks)
    report = model.step([batch], ITERATION)
    before.discriminator.load_state_dict(model.networks.discriminator.state_dict())
    terms = restated(before, batch, encoder_learns=structure_branch == 1)
    assert report.keys() - {"discriminator", "gradient_penalty", "total"} == terms.keys() == WEIGHTS.keys()
    for name, term in terms.items():
        assert report[name] == pytest.approx(float(term.detach()), rel=1e-6), name
    torch.autograd.backward(torch.stack([WEIGHTS[name] * term for name, term in terms.items()]).sum())
    for part in ("generator", "appearance"):
        pairs = zip(getattr(model.networks, part).named_parameters(), getattr(before, part).parameters(), strict=True)
        for (name, mine), theirs in pairs:
            assert mine.grad is not None, name
            assert theirs.grad is not None, name
            # Biases that a normalisation cancels have only rounding noise.
            assert (mine.grad - theirs.grad).norm() <= 1e-5 * theirs.grad.norm() + 1e-7, (part, name)


def test_the_discriminator_learns_from_both_sides_before_the_generator_does() -> None:
    model, batch = make_model(1.0), make_batch()
    before = copy.deepcopy(model.networks)
    report = model.step([batch], ITERATION)
    g, d = before.generator, before.discriminator
    codes = before.appearance.eval()(batch.images).appearance.detach()
    sides, loss, penalty = zip(batch.images.chunk(2), codes.chunk(2), strict=True), torch.zeros(()), torch.zeros(())
    structures = [g.structure(x).detach() for x in batch.images.chunk(2)]
    for (real, code), structure in zip(sides, reversed(structures), strict=True):
        real = real.clone().requires_grad_()
        fakes = g(structure, code).detach()
        for real_maps, fake_maps in zip(d(real), d(fakes), strict=True):
            loss = loss + fake_maps.square().mean() + (real_maps - 1).square().mean()
            (gradient,) = torch.autograd.grad(real_maps.sum(), real, create_graph=True)
            penalty = penalty + gradient.square().sum(dim=(1, 2, 3)).mean()
    assert report["discriminator"] == pytest.approx(float(loss.detach()), rel=1e-6)
    assert report["gradient_penalty"] == pytest.approx(float(penalty.detach()), rel=1e-6)
    torch.autograd.backward(loss + 0.01 * penalty)
    for mine, theirs in zip(model.networks.discriminator.parameters(), d.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert (mine.grad - theirs.grad).norm() <= 1e-5 * theirs.grad.norm() + 1e-9
