"""The terms of a re-id network: soft targets and weights image by image, statistics of real images only."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning import distances, losses, miners
from torch import Tensor
from torch.nn import functional

from dgaug.models.reid import ReidNetwork
from dgaug.settings import FeedSettings
from dgaug.training.reid_losses import TRIPLET_MARGIN, GeneratedBatch, ReidTerms, metric_loss

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def network(head: str = "linear", heads: int = 1) -> ReidNetwork:
    torch.manual_seed(0)
    made = ReidNetwork("small", 3, dropouts=(0.0,) * heads, pool="avg", embedding=8, head=head)
    for name, parameter in made.heads.named_parameters():
        if "classify.weight" in name:
            torch.nn.init.normal_(parameter)
    return made.train()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(6, 3, 64, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def generated() -> GeneratedBatch:
    seeded = torch.Generator().manual_seed(2)
    return GeneratedBatch(
        torch.randn(4, 3, 64, 32, generator=seeded),
        torch.rand(4, 3, generator=seeded).softmax(dim=1),
        torch.tensor([2, 1, 0, 1]),
        torch.tensor([1.0, 0.0, 0.5, 2.0]),
    )


def test_a_generated_image_counts_by_its_target_and_its_weight(images: Tensor, generated: GeneratedBatch) -> None:
    model = network(heads=2)
    terms = ReidTerms(model, FeedSettings())(images, LABELS, generated)
    prim, fine = model(generated.images).logits
    target = generated.targets
    divergence = (target * (target.log() - prim.log_softmax(dim=1))).sum(dim=1)
    assert torch.allclose(terms["teacher"], (generated.weights * divergence).mean(), atol=1e-5)
    each = -fine.log_softmax(dim=1)[range(4), generated.structure_labels]
    assert torch.allclose(terms["fine"], (generated.weights * each).mean(), atol=1e-5)


def test_every_band_learns_the_identity(images: Tensor) -> None:
    model = network("stripes")
    terms = ReidTerms(model, FeedSettings())(images, LABELS, None)
    each = [functional.cross_entropy(part, LABELS) for part in model(images).heads[0].parts]
    assert torch.allclose(terms["identification"], torch.stack(each).mean(), atol=1e-5)


def test_smoothed_labels_keep_a_share_for_every_class(images: Tensor) -> None:
    model = network("bnneck")
    terms = ReidTerms(model, FeedSettings(label_smoothing=0.3))(images, LABELS, None)
    likely = model(images).logits[0].log_softmax(dim=1)
    target = 0.7 * functional.one_hot(LABELS, 3) + 0.1
    assert torch.allclose(terms["identification"], -(target * likely).sum(dim=1).mean(), atol=1e-5)


def test_the_metric_loss_compares_what_the_head_offers(images: Tensor) -> None:
    model = network("bnneck")
    terms = ReidTerms(model, FeedSettings(metric="triplet"))(images, LABELS, None)
    features = model.backbone(images).mean(dim=(2, 3))
    apart = torch.cdist(features, features)
    same = LABELS[:, None] == LABELS
    hardest = (apart - 1e9 * ~same).amax(dim=1) - (apart + 1e9 * same).amin(dim=1) + 0.3
    hard = hardest.clamp(min=0)
    assert torch.allclose(terms["metric"], hard[hard > 0].mean(), atol=1e-4)


@pytest.mark.parametrize("name", ["triplet", "circle", "multi-similarity", "contrastive"])
def test_a_metric_loss_falls_when_identities_move_apart(name: str) -> None:
    seeded = torch.Generator().manual_seed(3)
    mixed = torch.randn(6, 8, generator=seeded)
    apart = functional.one_hot(LABELS, 8) * 5.0 + 0.01 * mixed
    loss = metric_loss(name)
    assert loss(apart, LABELS) < loss(mixed, LABELS)
    assert loss(mixed, torch.arange(6)).isfinite()


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 2], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 0]])
def test_the_triplet_loss_is_that_of_pytorch_metric_learning(labels: list[int]) -> None:
    features = torch.randn(6, 8, generator=torch.Generator().manual_seed(4), requires_grad=True)
    distance = distances.LpDistance(normalize_embeddings=False)
    miner, loss = miners.BatchHardMiner(distance=distance), losses.TripletMarginLoss(TRIPLET_MARGIN, distance=distance)
    result = []
    for one in (
        metric_loss("triplet")(features, torch.tensor(labels)),
        loss(features, torch.tensor(labels), miner(features, torch.tensor(labels))),
    ):
        (slope,) = torch.autograd.grad(one, features, allow_unused=True)
        result.append((one.detach(), slope))
    assert torch.allclose(result[0][0], result[1][0], atol=1e-6)
    assert torch.allclose(result[0][1], result[1][1], atol=1e-6)
