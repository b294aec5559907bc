"""Real and generated images as one data set for a loop of the user's own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from tiny_run import IDENTITIES, IMAGES
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

import dgaug
from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import denormalise
from dgaug.data.prepare import read_data
from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.store.read import StoreDataset, open_store
from dgaug.studies.mixed import MixedBatch, MixedDataset, MixedItem
from dgaug.synthesis.job import synthesize


@pytest.fixture(scope="module")
def store(tiny_run: Run) -> StoreDataset:
    return open_store(tiny_run.store)


def mixed(store: StoreDataset | Path, run: Run, **options: object) -> MixedDataset:
    return dgaug.mixed_dataset(store, run.data_root(), **options)


def row_of(store: StoreDataset, item: MixedItem) -> int:
    """The row of a store of all pairs."""
    return item.appearance * len(store.sources) + item.structure


def test_real_images_come_first_and_generated_ones_with_the_stores_labels(store: StoreDataset, tiny_run: Run) -> None:
    dataset = mixed(store, tiny_run, ratio=1.5, confidence=True)
    assert (len(dataset), dataset.real, dataset.generated) == (IMAGES + 36, IMAGES, 36)
    for place, path in enumerate(store.sources.path):
        item = dataset[place]
        expected = to_pixels(open_image(tiny_run.data_root() / path), store.spec.image_size)
        assert torch.equal(denormalise(item.image[None])[0], torch.from_numpy(expected))
        assert item.target.tolist() == [float(k == store.sources.identity[place]) for k in range(IDENTITIES)]
        assert item[2:] == (1.0, place, place, False)
    rows = []
    for place in range(IMAGES, len(dataset)):
        item = dataset[place]
        k = row_of(store, item)
        rows.append(k)
        assert torch.equal(denormalise(item.image[None])[0], torch.from_numpy(store[k].image))
        assert torch.allclose(item.target, torch.from_numpy(store.dense_label(k)))
        assert item.weight == pytest.approx(float(item.target.max()))
        assert item.generated
    assert len(set(rows)) == 36
    assert torch.equal(dataset[-1].image, dataset[len(dataset) - 1].image)
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_each_epoch_and_each_seed_has_its_own_choice(store: StoreDataset, tiny_run: Run) -> None:
    def choice(dataset: MixedDataset) -> list[int]:
        return [row_of(store, item) for item in dataset.__getitems__(range(IMAGES, len(dataset)))]

    dataset = mixed(store, tiny_run)
    first = choice(dataset)
    dataset.set_epoch(1)
    second = choice(dataset)
    dataset.set_epoch(0)
    assert choice(dataset) == first != second
    assert choice(mixed(store, tiny_run, seed=3)) not in (first, second)
    assert Counter(choice(mixed(store, tiny_run, ratio=100))).total() == 100 * IMAGES
    assert len(mixed(store, tiny_run, ratio=0)) == IMAGES


def test_targets_follow_the_label_policy(store: StoreDataset, tiny_run: Run) -> None:
    for labels, donor in (("appearance", "appearance"), ("structure", "structure")):
        dataset = mixed(store, tiny_run, labels=labels)
        batch = dgaug.collate_mixed(dataset.__getitems__(range(len(dataset))))
        theirs = torch.from_numpy(store.sources.identity).long()[getattr(batch, donor)]
        assert torch.equal(batch.identity, theirs)
        assert torch.equal(dataset.identities(), theirs)
    one_more = mixed(store, tiny_run, labels="extra-class")
    assert one_more.class_names[-1] == "generated"
    assert (int(one_more[0].target.argmax()), one_more[-1].target.tolist()) == (0, [0.0] * IDENTITIES + [1.0])


def doubled(pixels: Tensor) -> Tensor:
    return pixels.float() * 2


def everything(loader: DataLoader[MixedItem]) -> MixedBatch:
    batches = [batch for batch in loader if isinstance(batch, MixedBatch)]
    return MixedBatch(*(torch.cat(column) for column in zip(*batches, strict=True)))


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_workers_that_stay_see_the_epoch_however_they_were_started(
    store: StoreDataset, tiny_run: Run, start: str
) -> None:
    dataset = mixed(store, tiny_run, transform=doubled)
    dataset[IMAGES]  # what this process has open stays here
    options = {"batch_size": 16, "collate_fn": dgaug.collate_mixed}
    workers = DataLoader(dataset, num_workers=1, persistent_workers=True, multiprocessing_context=start, **options)
    seen = []
    for epoch in (0, 1):
        dataset.set_epoch(epoch)
        theirs, ours = everything(workers), everything(DataLoader(dataset, **options))
        assert all(torch.equal(one, other) for one, other in zip(theirs, ours, strict=True))
        assert float(theirs.image.max()) > 255
        seen.append(theirs.appearance.tolist())
    assert seen[0] != seen[1]


def test_a_distributed_sampler_gives_each_rank_its_part(store: StoreDataset, tiny_run: Run) -> None:
    dataset = mixed(store, tiny_run)
    parts = []
    for rank in range(2):
        sampler: DistributedSampler[MixedItem] = DistributedSampler(dataset, num_replicas=2, rank=rank, seed=1)
        loader = DataLoader(dataset, batch_size=8, sampler=sampler, collate_fn=dgaug.collate_mixed)
        parts.append(everything(loader))
    assert [len(part.image) for part in parts] == [IMAGES, IMAGES]
    pairs = [(a, s, g) for part in parts for a, s, g in zip(*(column.tolist() for column in part[3:]), strict=True)]
    assert len(set(pairs)) == len(dataset)


def test_codes_are_decoded_and_labelled_on_demand(tiny_run: Run, store: StoreDataset, tmp_path: Path) -> None:
    made = synthesize(tiny_run.folder, codec="codes", teacher="none", out=tmp_path / "codes")
    with pytest.raises(DgaugError, match="has no labels"):
        mixed(made.store, tiny_run)
    labelled = mixed(open_store(made.store, teacher=tiny_run.teacher), tiny_run)
    expected = mixed(store, tiny_run)
    ours, theirs = (dgaug.collate_mixed(one.__getitems__(range(IMAGES, len(one)))) for one in (labelled, expected))
    assert torch.equal(ours.structure, theirs.structure)
    assert float((ours.image - theirs.image).abs().mean()) < 0.1
    assert float((ours.identity == theirs.identity).float().mean()) > 0.8


def test_a_part_of_the_identities_has_images_of_its_own(store: StoreDataset, tiny_run: Run) -> None:
    settings = tiny_run.settings().data.model_copy(update={"limit_identities": 2})
    dataset = dgaug.mixed_dataset(store, read_data(tiny_run.data_root(), settings))
    batch = dgaug.collate_mixed(dataset.__getitems__(range(len(dataset))))
    assert batch.target.shape == (2 * dataset.real, 2)
    assert torch.allclose(batch.target.sum(dim=1), torch.ones(len(dataset)), atol=1e-4)
    assert set(store.sources.identity[batch.appearance.numpy()]) == {0, 1}


def test_what_does_not_fit_is_refused(store: StoreDataset, tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match="unknown label policy 'hard'"):
        mixed(store, tiny_run, labels="hard")
    with pytest.raises(DgaugError, match="a ratio of 0 or more"):
        mixed(store, tiny_run, ratio=-1)
    with pytest.raises(DgaugError, match="no such folder"):
        dgaug.mixed_dataset(store, tmp_path / "gone")
