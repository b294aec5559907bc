"""What a store feeds a re-id model: rows by iteration, targets by policy, and only its own identities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from virtual_stores import write_tiny_virtual

from dgaug.data.normalisation import denormalise
from dgaug.data.prepare import read_data
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.models.architectures import appearance_architecture
from dgaug.runs import Run
from dgaug.settings import FeedSettings
from dgaug.store.policies import POLICIES
from dgaug.store.read import StoreDataset, open_store
from dgaug.store.virtual import Mixed
from dgaug.studies.feeds import (
    Fitting,
    JointFeed,
    Labelling,
    Source,
    StoreFeed,
    fit,
    needs_teacher,
    require_policy,
    scheduled_count,
    seeded_feed,
)
from dgaug.studies.train_reid import train_reid
from dgaug.synthesis.job import synthesize
from dgaug.training.batches import LabelledImages
from dgaug.training.reid_loop import ReidJob, train_reid_network


def tiny_images(run: Run, **limits: object) -> LabelledImages:
    data = run.settings().data.model_copy(update=limits)
    return LabelledImages.of(read_data(run.data_root(), data), data.image_size)


@pytest.fixture(scope="module")
def store(tiny_run: Run) -> StoreDataset:
    return open_store(tiny_run.store)


def test_the_batch_of_an_iteration_is_always_the_same(store: StoreDataset) -> None:
    feed, again = StoreFeed(store, 6, seed=1), StoreFeed(store, 6, seed=1)
    feed(0)
    first, second = feed(5), again(5)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.targets, second.targets)
    assert not torch.equal(first.images, feed(6).images)
    assert not torch.equal(first.images, StoreFeed(store, 6, seed=2)(5).images)


def test_a_batch_holds_images_of_the_store_with_their_labels(store: StoreDataset) -> None:
    batch = StoreFeed(store, 5, seed=0)(0)
    assert batch.images.shape == (5, 3, 64, 32)
    assert batch.targets.shape == (5, 6)
    assert torch.allclose(batch.targets.sum(dim=1), torch.ones(5), atol=2e-3)
    images = {store[row].image.tobytes(): row for row in range(len(store))}
    for pixels, label, structure in zip(denormalise(batch.images), batch.targets, batch.structure_labels, strict=True):
        row = images[pixels.numpy().tobytes()]
        assert torch.equal(label, torch.from_numpy(store.dense_label(row)))
        assert structure == store[row].structure_identity


@pytest.mark.parametrize("stored", [True, False])
def test_a_feed_from_codes_is_that_from_images(
    tiny_run: Run, tmp_path_factory: pytest.TempPathFactory, stored: bool
) -> None:
    folder = tmp_path_factory.mktemp("feeds")
    synthesize(tiny_run.folder, codec="raw", out=folder / "raw")
    write_tiny_virtual(tiny_run, folder / "codes", labels="top" if stored else "none")
    raw = StoreFeed(open_store(folder / "raw"), 12, seed=3)
    online = StoreFeed(open_store(folder / "codes", teacher=None if stored else tiny_run.teacher), 12, seed=3)
    for iteration in (4, 0):
        drawn, read = online(iteration), raw(iteration)
        assert (denormalise(drawn.images).int() - denormalise(read.images).int()).abs().max() <= 1
        assert torch.allclose(drawn.targets, read.targets, atol=0.02)
        assert torch.equal(drawn.structure_labels, read.structure_labels)
        assert torch.equal(drawn.images, online(iteration).images)


def test_a_store_of_codes_trains_a_network_online(tiny_run: Run, tmp_path: Path) -> None:
    settings = tiny_run.settings()
    images = tiny_images(tiny_run)
    store = open_store(write_tiny_virtual(tiny_run, tmp_path / "store"), teacher=tiny_run.teacher)
    fit(store, images)
    logged: list[Mapping[str, float]] = []
    job = ReidJob(
        images,
        settings.reid,
        settings.data,
        appearance_architecture(settings, len(images.class_names)),
        weights="none",
        seed=0,
        feed=StoreFeed(store, 6, seed=0),
    )
    train_reid_network(
        job,
        tmp_path / "model.pt",
        processes=Processes(torch.device("cpu")),
        save_every=100,
        on_log=lambda iteration, terms: logged.append(terms),
    )
    assert len(logged) == settings.reid.iterations
    assert all({"teacher", "fine"} <= terms.keys() for terms in logged)


def test_a_store_of_codes_without_labels_serves_the_policies_that_need_none(tiny_run: Run, tmp_path: Path) -> None:
    images = tiny_images(tiny_run)
    store = open_store(write_tiny_virtual(tiny_run, tmp_path / "store"))
    with pytest.raises(DgaugError, match="has no labels; synthesize one with a teacher"):
        fit(store, images)
    fit(store, images, labels=False)
    batch = StoreFeed(store, 4, seed=0, policy="structure")(0)
    assert torch.equal(batch.targets.argmax(dim=1), batch.structure_labels)
    assert [needs_teacher(policy, confidence=False) for policy in ("soft", "structure", "lsro")] == [True, False, False]
    assert needs_teacher("structure", confidence=True)


def test_a_policy_makes_the_target_from_the_label_and_the_donors() -> None:
    label = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0], [0.0, 0.0, 1.0]])
    appearance, structure = torch.tensor([0, 1, 0]), torch.tensor([1, 1, 1])
    targets = {name: policy(label, appearance, structure) for name, policy in POLICIES.items()}
    assert torch.equal(targets["soft"], label)
    assert targets["appearance"].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert targets["pseudo"].tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert torch.allclose(targets["lsro"], torch.full((3, 3), 1 / 3))
    assert targets["structure"].tolist() == [[0, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert torch.allclose(targets["mprl"], torch.tensor([[1, 2, 3], [3, 2, 1], [1.5, 1.5, 3]]) / 6)
    assert targets["extra-class"].tolist() == [[0, 0, 0, 1]] * 3
    expected = torch.tensor([[1 / 3, 2 / 3, 0], [0, 1, 0], [0.5, 0.5, 0]])
    assert torch.allclose(targets["two-soft"], expected, atol=1e-6)


def test_the_feed_applies_its_policy(store: StoreDataset) -> None:
    batch = StoreFeed(store, 4, seed=0, policy="appearance")(3)
    assert set(batch.targets.flatten().tolist()) == {0.0, 1.0}


def test_an_unknown_policy_is_refused_with_the_known_ones() -> None:
    require_policy("two-soft")
    with pytest.raises(DgaugError, match="unknown label policy 'hard'; known are soft, appearance"):
        require_policy("hard")


def test_a_store_is_refused_beside_images_it_was_not_made_from(tiny_run: Run, store: StoreDataset) -> None:
    images = tiny_images(tiny_run)
    assert fit(store, images) == Fitting()
    other = replace(images, class_names=[*images.class_names[:-1], "other"])
    with pytest.raises(DgaugError, match=r"of 6 identities: 4 of these 24 of 6 are not among them, the first .*jpg"):
        fit(store, other)
    with pytest.raises(DgaugError, match="24 of 6 identities: 1 of these 24"):
        fit(store, replace(images, names=["stranger.jpg", *images.names[1:]]))
    with pytest.raises(DgaugError, match="holds images of 64x32, the settings say 128x64"):
        fit(store, replace(images, image_size=(128, 64)))


def test_beside_fewer_images_a_store_gives_only_what_was_made_of_them(tiny_run: Run, store: StoreDataset) -> None:
    few = tiny_images(tiny_run, identities_fraction=0.5, images_per_identity=2)
    assert (len(few.names), len(few.class_names)) == (6, 3)
    fitting = fit(store, few)
    kept = {store.sources.path.index(name) for name in few.names}
    pairs = store.pairs()
    assert fitting.rows is not None
    assert fitting.rows.tolist() == [k for k, pair in enumerate(pairs.tolist()) if set(pair) <= kept]
    batch = StoreFeed(store, 16, seed=0, fitting=fitting)(2)
    images = {store[int(row)].image.tobytes(): int(row) for row in fitting.rows}
    for pixels, target, structure in zip(denormalise(batch.images), batch.targets, batch.structure_labels, strict=True):
        row = images[pixels.numpy().tobytes()]
        theirs = torch.from_numpy(store.dense_label(row))[[store.sources.class_name.index(n) for n in few.class_names]]
        assert torch.allclose(target, theirs / theirs.sum(), atol=1e-4)
        assert few.class_names[structure] == store.sources.class_name[store[row].structure_identity]


def test_a_confident_label_counts_more(store: StoreDataset) -> None:
    equal, confident = (StoreFeed(store, 8, seed=0, confidence=confidence)(0) for confidence in (False, True))
    assert torch.equal(equal.weights, torch.ones(8))
    assert torch.equal(confident.weights, confident.targets.amax(dim=1))


def test_a_scheduled_feed_shares_its_size_among_the_stores(tiny_run: Run, store: StoreDataset) -> None:
    reid = FeedSettings(iterations=11, batch_size=8, ratio_end=0)
    sources = [Source(store, Fitting(), None)] * 2
    of = seeded_feed(sources, Labelling("soft", False, None, None), scheduled_count(reid))
    assert of is not None
    assert [len(of(3)(iteration).images) for iteration in (0, 5, 10)] == [8, 4, 2]
    assert scheduled_count(FeedSettings(batch_size=8)) == 8


def test_two_feeds_in_one_batch_draw_apart(store: StoreDataset) -> None:
    feeds = [StoreFeed(store, 3, seed=0, stream=stream) for stream in range(2)]
    joint, parts = JointFeed(feeds)(4), [feed(4) for feed in feeds]
    assert not torch.equal(parts[0].images, parts[1].images)
    assert torch.equal(joint.images, torch.cat([part.images for part in parts]))
    assert torch.equal(joint.targets, torch.cat([part.targets for part in parts]))


def test_identity_mixup_mixes_two_appearances_and_their_labels(tiny_run: Run, tmp_path: Path) -> None:
    store = open_store(write_tiny_virtual(tiny_run, tmp_path / "store"))
    plain = StoreFeed(store, 12, seed=3, policy="appearance")(0)
    mixed = StoreFeed(store, 12, seed=3, policy="appearance", mixup=1.0)(0)
    assert torch.equal(mixed.structure_labels, plain.structure_labels)
    assert torch.allclose(mixed.targets.sum(dim=1), torch.ones(12))
    two = (mixed.targets > 0).sum(dim=1) == 2
    assert two.sum() > 5
    own = mixed.targets[torch.arange(12), plain.targets.argmax(dim=1)]
    assert 0 < own[two].min() < own[two].max() < 1
    rows = np.arange(5)
    ends = [
        store.batch(rows, mixed=Mixed(store.appearances(rows + 300), np.full(5, share, np.float32))).pixels
        for share in (1.0, 0.0, 0.5)
    ]
    assert (ends[0].int() - store.batch(rows).pixels.int()).abs().max() <= 1
    structure = store.pairs()[rows, 1]
    pair = {tuple(pair): row for row, pair in enumerate(store.pairs().tolist())}
    others = [pair[one, two] for one, two in zip(store.appearances(rows + 300), structure, strict=True)]
    assert (ends[1].int() - store.batch(others).pixels.int()).abs().max() <= 1
    assert not torch.equal(ends[2], ends[0])
    assert not torch.equal(ends[2], ends[1])


def test_identity_mixup_needs_codes_and_the_appearance_label(tiny_run: Run, tmp_path: Path) -> None:
    mixup = ["reid.identity_mixup=0.4"]
    with pytest.raises(DgaugError, match="use --labels appearance, not soft"):
        train_reid(tiny_run.folder, overrides=mixup, out=tmp_path)
    with pytest.raises(DgaugError, match="holds images; use --feed online"):
        train_reid(tiny_run.folder, labels="appearance", overrides=mixup, out=tmp_path)
    short = [*mixup, "reid.iterations=2"]
    results = train_reid(
        tiny_run.folder, labels="appearance", feed="online", overrides=short, twin=False, out=tmp_path / "online"
    )
    assert [run["variant"] for run in results["runs"]] == ["augmented"]
