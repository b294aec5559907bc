"""Batches: an order that belongs to the iteration, positives of the same identity, crops of the padded image."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dgaug.data.images import DamagedImage, open_image
from dgaug.data.normalisation import normalise
from dgaug.data.records import IdentityData, Record
from dgaug.training.batches import (
    LabelledImages,
    TrainingImages,
    endless_batches,
)
from dgaug.training.sampling import OrderedBatches, SampledRow, shuffled

SIZE = (64, 32)
IDENTITIES = ["anna"] * 4 + ["ben"] * 3 + ["cleo"]


@pytest.fixture
def images(tmp_path: Path) -> LabelledImages:
    """Eight plain images, each of a grey of its own; cleo has only one."""
    records = []
    for row, identity in enumerate(IDENTITIES):
        name = f"{row}.png"
        Image.new("RGB", (SIZE[1], SIZE[0]), (grey_of(row),) * 3).save(tmp_path / name)
        records.append(Record(name, identity))
    return LabelledImages.of(IdentityData(tmp_path, "test", {"train": records}), SIZE)


def grey_of(row: int) -> int:
    return 20 * (row + 1)


def rows_of(views: torch.Tensor) -> list[int]:
    """Which images normalised views [B, 3, H, W] show."""
    greys = normalise(torch.tensor([grey_of(row) for row in range(8)]).view(8, 1, 1, 1).expand(8, 1, 1, 3))
    return [int((greys[:, 0, 0, 0] - view[0, 0, 0]).abs().argmin()) for view in views]


def drawn(rows: int, batch_size: int, count: int, *, start: int = 0, streams: int = 1) -> list[list[SampledRow]]:
    sampler = OrderedBatches(shuffled(rows), batch_size, phase="test", seed=5, streams=streams, start=start)
    return list(itertools.islice(sampler, count))


def test_the_batch_of_an_iteration_is_the_same_wherever_one_starts() -> None:
    whole = drawn(10, 3, 12, streams=2)
    for start in (1, 3, 7):
        assert drawn(10, 3, 12 - start, start=start, streams=2) == whole[start:]


def test_an_epoch_shows_no_image_twice_and_drops_the_remainder() -> None:
    batches = drawn(10, 3, 9)
    epochs = [[draw.row for batch in batches[first : first + 3] for draw in batch] for first in (0, 3, 6)]
    for rows in epochs:
        assert len(set(rows)) == 9
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_two_streams_are_shuffled_apart_from_each_other() -> None:
    batches = drawn(40, 4, 10, streams=2)
    first, second = ([draw.row for batch in batches for draw in batch[side]] for side in (slice(4), slice(4, 8)))
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


def test_every_draw_has_randomness_of_its_own() -> None:
    seeds = [draw.key for batch in drawn(6, 4, 20, streams=2) for draw in batch]
    assert len(set(seeds)) == len(seeds)


def test_another_seed_or_phase_orders_otherwise() -> None:
    def order(phase: str, seed: int) -> list[int]:
        return [draw.row for draw in next(iter(OrderedBatches(shuffled(40), 40, phase=phase, seed=seed)))]

    assert order("teacher", 0) == order("teacher", 0)
    assert order("teacher", 0) != order("teacher", 1) != order("dgnet", 1)


def test_fewer_images_than_a_batch_go_round_in_whole_orders() -> None:
    rows = [draw.row for batch in drawn(3, 8, 3) for draw in batch]
    assert len(rows) == 24
    for first in range(0, 24, 3):
        assert sorted(rows[first : first + 3]) == [0, 1, 2]


def test_labels_are_ranks_of_the_names_as_text(tmp_path: Path) -> None:
    records = [Record("b.png", "10"), Record("a.png", "9"), Record("c.png", "10")]
    result = LabelledImages.of(IdentityData(tmp_path, "test", {"train": records}), SIZE)
    assert result.class_names == ["10", "9"]
    assert result.labels.tolist() == [0, 1, 0]
    assert [path.name for path in result.paths] == ["b.png", "a.png", "c.png"]


def test_a_positive_is_any_other_image_of_the_identity_or_itself_if_alone(images: LabelledImages) -> None:
    dataset = TrainingImages(images, pad=0, positives=True)
    for row, identity in enumerate(IDENTITIES):
        met = set()
        for position in range(60):
            views, label = dataset[SampledRow(row, (0, 0, position))]
            anchor, positive = rows_of(normalise(torch.from_numpy(views)))
            assert anchor == row
            assert images.class_names[label] == identity
            met.add(positive)
        others = {other for other, name in enumerate(IDENTITIES) if name == identity} - {row}
        assert met == (others or {row})


def test_without_positives_an_item_is_one_view(images: LabelledImages) -> None:
    views, _ = TrainingImages(images, pad=2, positives=False)[SampledRow(0, (0,))]
    assert views.shape == (1, *SIZE, 3)
    assert views.dtype == np.uint8


def test_a_view_is_a_crop_of_the_edge_padded_image_or_of_its_mirror(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = IdentityData(tmp_path, "test", {"train": [Record("a.png", "anna")]})
    dataset = TrainingImages(LabelledImages.of(data, SIZE), pad=3, positives=False)
    crops = {}
    for mirrored in (False, True):
        padded = np.pad(pixels[:, ::-1] if mirrored else pixels, ((3, 3), (3, 3), (0, 0)), mode="edge")
        for top, left in itertools.product(range(7), repeat=2):
            crops[padded[top : top + 64, left : left + 32].tobytes()] = (mirrored, top, left)
    met = {crops[dataset[SampledRow(0, (1, number))][0].tobytes()] for number in range(600)}
    assert {mirrored for mirrored, _, _ in met} == {False, True}
    assert {top for _, top, _ in met} == {left for _, _, left in met} == set(range(7))


def test_images_of_another_size_are_resized(tmp_path: Path) -> None:
    Image.new("RGB", (50, 90), "red").save(tmp_path / "a.png")
    data = IdentityData(tmp_path, "test", {"train": [Record("a.png", "anna")]})
    views, _ = TrainingImages(LabelledImages.of(data, SIZE), pad=2, positives=False)[SampledRow(0, (0,))]
    assert views.shape == (1, *SIZE, 3)
    assert (views == [255, 0, 0]).all()


def test_threads_that_read_ahead_change_nothing(images: LabelledImages) -> None:
    def first_batches(workers: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        dataset = TrainingImages(images, pad=2, positives=True)
        sampler = OrderedBatches(shuffled(len(dataset)), 4, phase="test", seed=1, streams=2, start=3)
        with closing(endless_batches(dataset, workers, sampler, torch.device("cpu"))) as batches:
            return list(itertools.islice(batches, 4))

    alone = first_batches(0)
    for workers in (1, 2, 5):
        for (views, labels), (other_views, other_labels) in zip(alone, first_batches(workers), strict=True):
            assert views.shape == (2, 8, 3, *SIZE)
            assert torch.equal(views, other_views)
            assert torch.equal(labels, other_labels)
            assert images.labels[rows_of(views[0])].tolist() == labels.tolist()


@pytest.mark.parametrize("pad", [0, 1, 10, 40, 100])
def test_a_view_is_the_crop_of_the_padded_image_that_numpy_makes(tmp_path: Path, pad: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = IdentityData(tmp_path, "test", {"train": [Record("a.png", "anna")]})
    dataset = TrainingImages(LabelledImages.of(data, SIZE), pad=pad, positives=False)
    for position in range(50):
        rng = np.random.default_rng((7, position))
        source = pixels[:, ::-1] if rng.random() < 0.5 else pixels
        top, left = rng.integers(2 * pad + 1, size=2)
        padded = np.pad(source, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        (view,), _ = dataset[SampledRow(0, (7, position))]
        assert np.array_equal(view, padded[top : top + SIZE[0], left : left + SIZE[1]])


def test_phases_of_a_run_decode_each_image_once(monkeypatch: pytest.MonkeyPatch, images: LabelledImages) -> None:
    decoded = []

    def counted(path: Path) -> Image.Image:
        decoded.append(path.name)
        return open_image(path)

    monkeypatch.setattr("dgaug.data.images.open_image", counted)
    for positives, phase in ((False, "teacher"), (True, "dgnet")):
        dataset = TrainingImages(images, pad=2, positives=positives)
        sampler = OrderedBatches(shuffled(len(dataset)), 4, phase=phase, seed=1)
        with closing(endless_batches(dataset, 0, sampler, torch.device("cpu"))) as batches:
            for _ in range(10):
                next(batches)
    assert sorted(decoded) == sorted(path.name for path in images.paths)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_damaged_on_the_way_is_named(images: LabelledImages, workers: int) -> None:
    images.paths[5].write_bytes(b"no image")
    dataset = TrainingImages(images, pad=2, positives=False)
    sampler = OrderedBatches(shuffled(len(dataset)), 8, phase="test", seed=1)
    with (
        closing(endless_batches(dataset, workers, sampler, torch.device("cpu"))) as batches,
        pytest.raises(DamagedImage, match=r"5\.png: damaged image"),
    ):
        next(batches)
