"""What a store feeds a re-id model: rows by iteration, targets by policy, and only its own identities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from virtual_stores import write_tiny_virtual

from dgaug.data.training import read_data
from dgaug.errors import DgaugError
from dgaug.models.architectures import appearance_architecture
from dgaug.processes import Processes
from dgaug.runs import Run
from dgaug.store.policies import POLICIES
from dgaug.store.read import StoreDataset, open_store
from dgaug.synthesis.job import synthesize
from dgaug.training.batches import LabelledPictures
from dgaug.training.feed import StoreFeed, require_fitting, require_policy
from dgaug.training.reid import ReidJob, train_reid_network


@pytest.fixture(scope="module")
def store(tiny_run: Run) -> StoreDataset:
    return open_store(tiny_run.store)


def test_the_batch_of_an_iteration_is_always_the_same(store: StoreDataset) -> None:
    feed, again = StoreFeed(store, 6, seed=1), StoreFeed(store, 6, seed=1)
    feed(0)
    first, second = feed(5), again(5)
    assert torch.equal(first.pixels, second.pixels)
    assert torch.equal(first.targets, second.targets)
    assert not torch.equal(first.pixels, feed(6).pixels)
    assert not torch.equal(first.pixels, StoreFeed(store, 6, seed=2)(5).pixels)


def test_a_batch_holds_pictures_of_the_store_with_their_labels(store: StoreDataset) -> None:
    batch = StoreFeed(store, 5, seed=0)(0)
    assert batch.pixels.shape == (5, 64, 32, 3)
    assert batch.targets.shape == (5, 6)
    assert torch.allclose(batch.targets.sum(dim=1), torch.ones(5), atol=2e-3)
    pictures = {store[row].picture.tobytes(): row for row in range(len(store))}
    for pixels, label, structure in zip(batch.pixels, batch.targets, batch.structure_labels, strict=True):
        row = pictures[pixels.numpy().tobytes()]
        assert torch.equal(label, torch.from_numpy(store.dense_label(row)))
        assert structure == store[row].structure_identity


@pytest.mark.parametrize("stored", [True, False])
def test_a_feed_from_codes_is_that_from_pictures(
    tiny_run: Run, tmp_path_factory: pytest.TempPathFactory, stored: bool
) -> None:
    folder = tmp_path_factory.mktemp("feeds")
    synthesize(tiny_run.folder, codec="raw", out=folder / "raw")
    write_tiny_virtual(tiny_run, folder / "codes", labels="top" if stored else "none")
    raw = StoreFeed(open_store(folder / "raw"), 12, seed=3)
    online = StoreFeed(open_store(folder / "codes", teacher=None if stored else tiny_run.teacher), 12, seed=3)
    for iteration in (4, 0):
        drawn, read = online(iteration), raw(iteration)
        assert drawn.pixels.dtype == torch.uint8
        assert (drawn.pixels.int() - read.pixels.int()).abs().max() <= 1
        assert torch.allclose(drawn.targets, read.targets, atol=0.02)
        assert torch.equal(drawn.structure_labels, read.structure_labels)
        assert torch.equal(drawn.pixels, online(iteration).pixels)


def test_a_store_of_codes_trains_a_network_online(tiny_run: Run, tmp_path: Path) -> None:
    settings = tiny_run.settings()
    pictures = LabelledPictures.of(read_data(tiny_run.data_root(), settings.data), settings.data.image_size)
    store = open_store(write_tiny_virtual(tiny_run, tmp_path / "store"), teacher=tiny_run.teacher)
    require_fitting(store, pictures)
    logged: list[Mapping[str, float]] = []
    job = ReidJob(
        pictures,
        settings.reid,
        settings.data,
        appearance_architecture(settings, len(pictures.class_names)),
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


def test_a_store_of_codes_without_labels_needs_a_teacher(tiny_run: Run, tmp_path: Path) -> None:
    settings = tiny_run.settings()
    pictures = LabelledPictures.of(read_data(tiny_run.data_root(), settings.data), settings.data.image_size)
    store = open_store(write_tiny_virtual(tiny_run, tmp_path / "store"))
    with pytest.raises(DgaugError, match="has no labels"):
        require_fitting(store, pictures)
    with pytest.raises(DgaugError, match="open it with a teacher"):
        StoreFeed(store, 4, seed=0)(0)


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


def test_a_store_is_refused_beside_pictures_it_does_not_fit(tiny_run: Run, store: StoreDataset) -> None:
    settings = tiny_run.settings()
    pictures = LabelledPictures.of(read_data(tiny_run.data_root(), settings.data), settings.data.image_size)
    require_fitting(store, pictures)
    for names in (pictures.class_names[:-1], [*pictures.class_names[:-1], "other"]):
        with pytest.raises(DgaugError, match="made from 6 identities that are not the"):
            require_fitting(store, replace(pictures, class_names=names))
    with pytest.raises(DgaugError, match="holds pictures of 64x32, the settings say 128x64"):
        require_fitting(store, replace(pictures, image_size=(128, 64)))
