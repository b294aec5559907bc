"""Re-id networks: what the heads, features and soft labels are."""

from __future__ import annotations

import pytest
import torch

from dgaug.models.reid import ReidNetwork, soft_labels


@pytest.fixture(scope="module")
def network() -> ReidNetwork:
    """Two heads, with statistics of its own in every batch norm."""
    torch.manual_seed(0)
    result = ReidNetwork("small", 5, dropouts=(0.5, 0.75), pool="max", embedding=8)
    for head in result.heads:
        torch.nn.init.normal_(head.classify.weight)
    for _ in range(3):
        result(torch.randn(8, 3, 64, 32))
    return result.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(4, 3, 64, 32)


def test_two_heads_give_two_logits_two_embeddings_and_one_code(network: ReidNetwork, images: torch.Tensor) -> None:
    output = network(images)
    assert [tuple(logits.shape) for logits in output.logits] == [(4, 5), (4, 5)]
    assert [tuple(embedding.shape) for embedding in output.embeddings] == [(4, 8), (4, 8)]
    assert output.appearance.shape == (4, network.code_length) == (4, 1024)
    assert not torch.equal(output.logits[0], output.logits[1])


@pytest.mark.parametrize(("pool", "reduce"), [("max", torch.amax), ("avg", torch.mean)])
def test_the_head_reads_the_maps_pooled_as_named(pool: str, reduce: object, images: torch.Tensor) -> None:
    teacher = ReidNetwork("small", 5, dropouts=(0.5,), pool=pool, embedding=8).eval()
    assert callable(reduce)
    seen = teacher.heads[0](reduce(teacher.backbone(images), dim=(2, 3)), dropout=False)
    assert torch.allclose(teacher(images).logits[0], seen.parts[0], atol=1e-5)


def test_dropout_follows_the_mode_unless_it_is_asked_for(network: ReidNetwork, images: torch.Tensor) -> None:
    assert torch.equal(network(images).logits[0], network(images).logits[0])
    assert not torch.equal(network(images, dropout=True).logits[0], network(images, dropout=True).logits[0])
    network.train()
    try:
        calm = [network(images, dropout=False).logits[0] for _ in range(2)]
    finally:
        network.eval()
    assert torch.equal(*calm)


def test_each_head_drops_its_own_share() -> None:
    network = ReidNetwork("small", 5, dropouts=(0.0, 0.75), pool="max", embedding=64).eval()
    images = torch.randn(2, 3, 64, 32)
    first, second = network(images, dropout=True), network(images, dropout=True)
    assert torch.equal(first.logits[0], second.logits[0])
    assert not torch.equal(first.logits[1], second.logits[1])


def test_features_have_unit_length_in_each_half_and_do_not_see_the_mirror(
    network: ReidNetwork, images: torch.Tensor
) -> None:
    features = network.features(images)
    assert features.shape == (4, network.feature_length) == (4, 16)
    assert torch.allclose(features.view(4, 2, 8).norm(dim=2), torch.ones(4, 2), atol=1e-5)
    assert torch.allclose(features, network.features(images.flip(3)), atol=1e-5)
    views = [torch.nn.functional.normalize(network(view).embeddings[1], dim=1) for view in (images, images.flip(3))]
    assert torch.allclose(features[:, 8:], torch.nn.functional.normalize(views[0] + views[1], dim=1), atol=1e-5)


def test_a_soft_label_is_the_mean_softmax_of_an_image_and_its_mirror(
    network: ReidNetwork, images: torch.Tensor
) -> None:
    label = soft_labels(network, images)
    mirrored = network(images.flip(3)).logits[0].softmax(1)
    assert torch.allclose(label, (network(images).logits[0].softmax(1) + mirrored) / 2, atol=1e-6)
    assert torch.allclose(label.sum(dim=1), torch.ones(4), atol=1e-6)
    assert not label.requires_grad


@pytest.mark.parametrize(("head", "length"), [("linear", 8), ("bnneck", 256), ("stripes", 48)])
def test_every_kind_of_head_gives_scores_and_a_feature_of_unit_length(
    head: str, length: int, images: torch.Tensor
) -> None:
    network = ReidNetwork("small", 5, dropouts=(0.0,), pool="avg", embedding=8, head=head).eval()
    features = network.features(images)
    assert network(images).logits[0].shape == (4, 5)
    assert features.shape == (4, network.feature_length) == (4, length)
    assert torch.allclose(features.norm(dim=1), torch.ones(4), atol=1e-5)


def test_a_bnneck_compares_what_its_batch_norm_sees_and_ranks_what_it_returns(images: torch.Tensor) -> None:
    network = ReidNetwork("small", 5, dropouts=(0.0,), pool="avg", head="bnneck")
    network.heads[0].norm.running_mean.fill_(0.5)
    seen = network.eval()(images).heads[0]
    assert torch.allclose(seen.metric, network.backbone(images).mean(dim=(2, 3)), atol=1e-5)
    assert torch.allclose(seen.embedding, network.heads[0].norm(seen.metric))
    assert [name for name, one in network.heads.named_parameters() if not one.requires_grad] == ["0.norm.bias"]
    assert "0.classify.bias" not in dict(network.heads.named_parameters())


def test_each_band_of_pcb_sees_its_own_rows(images: torch.Tensor) -> None:
    network = ReidNetwork("small", 5, dropouts=(0.0,), pool="avg", embedding=8, head="stripes").eval()
    for band in network.heads[0].bands:
        torch.nn.init.normal_(band.classify.weight)
    tall = torch.randn(1, 3, 192, 32)
    changed = tall.clone()
    changed[:, :, :16] = 0
    before, after = (network(view).heads[0].parts for view in (tall, changed))
    assert len(before) == 6
    moved = [not torch.allclose(old, new, atol=1e-6) for old, new in zip(before, after, strict=True)]
    assert moved[0]
    assert not any(moved[2:])
    mean = torch.stack([part.softmax(dim=1) for part in before]).mean(dim=0)
    assert torch.allclose(network(tall).logits[0].softmax(dim=1), mean, atol=1e-6)
