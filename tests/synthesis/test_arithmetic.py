"""Every way from a checkpoint to images computes in the arithmetic that the checkpoint records."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dgaug.data.prepare import read_data
from dgaug.models import checkpoints
from dgaug.models.blocks import arithmetic, as_published
from dgaug.models.checkpoints import TrainedGenerator, load_generator
from dgaug.runs import Run
from dgaug.store.read import StoreDataset, open_store
from dgaug.synthesis.draw import generate_all, generate_between, pixels_of, swap
from dgaug.synthesis.encoding import encode_images
from dgaug.synthesis.job import synthesize
from dgaug.training.batches import LabelledImages
from dgaug.training.dgnet_loop import preview
from dgaug.training.networks import build_networks

FAINT = 1e-5
"""Before a layer norm, deviations of this size: there the two arithmetics differ by 40 percent, not by rounding."""
HALF = 2
"""Grey levels that the half precision of a store's codes is worth."""


@pytest.fixture(scope="module")
def published(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny run as if its networks had been imported, with weights that show which arithmetic was used."""
    run = Run(tmp_path_factory.mktemp("published") / "run")
    shutil.copytree(tiny_run.folder, run.folder, ignore=shutil.ignore_patterns("store", "samples", ".lock"))
    content = checkpoints.load(run.checkpoint, checkpoints.DGNET)
    settings = tiny_run.settings().model_dump(mode="json")
    settings["behaviour"]["arithmetic"] = "published"
    run.config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    for name, tensor in content["networks"]["averaged"].items():
        if name.startswith("decoder.upsample."):
            tensor.mul_(FAINT)
    checkpoints.save(run.checkpoint, content | {"settings": settings})
    return run


@pytest.fixture(scope="module")
def model(published: Run) -> TrainedGenerator:
    return load_generator(published.checkpoint)


@pytest.fixture(scope="module")
def store(published: Run, tmp_path_factory: pytest.TempPathFactory) -> StoreDataset:
    """Some pairs of the run, decoded as they are read."""
    return made(published, tmp_path_factory.mktemp("stores") / "codes", codec="codes")


def made(run: Run, folder: Path, *, codec: str, **options: str) -> StoreDataset:
    """Every appearance of two on every structure of three, without labels."""
    synthesize(run.folder, pairs="grid:2x3", codec=codec, teacher="none", out=folder, **options)
    return open_store(folder)


def pixels_in(store: StoreDataset) -> np.ndarray:
    return np.stack([item.image for item in store])


def donors_in(store: StoreDataset, model: TrainedGenerator, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """The donors of the rows and those of the columns."""
    pairs = store.pairs()
    rows, columns = (
        pixels_of([run.data_root() / store.sources.path[row] for row in donors], model)
        for donors in (pairs[::3, 0], pairs[:3, 1])
    )
    return rows, columns


def levels(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_store_of_codes_is_read_as_a_store_of_pixels_was_made(published: Run, tmp_path: Path, precision: str) -> None:
    stored, drawn = (made(published, tmp_path / codec, codec=codec, precision=precision) for codec in ("png", "codes"))
    assert np.array_equal(pixels_in(stored), pixels_in(drawn))


def test_the_other_arithmetic_would_show(published: Run, store: StoreDataset, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(published.folder, run.folder)
    content = checkpoints.load(run.checkpoint, checkpoints.DGNET)
    content["settings"]["behaviour"]["arithmetic"] = "fast"
    checkpoints.save(run.checkpoint, content)
    assert levels(pixels_in(made(run, tmp_path / "store", codec="png")), pixels_in(store)) > 5 * HALF


def test_a_grid_has_the_images_of_the_store(published: Run, model: TrainedGenerator, store: StoreDataset) -> None:
    rows, columns = donors_in(store, model, published)
    assert levels(generate_all(model, rows, columns).reshape(-1, 64, 32, 3), pixels_in(store)) <= HALF


def test_a_swap_is_that_image_of_the_store(published: Run, store: StoreDataset, tmp_path: Path) -> None:
    appearance, structure = (published.data_root() / store.sources.path[row] for row in store.pairs()[4])
    with Image.open(swap(appearance, structure, run=published.folder, out=tmp_path / "swap.png")) as image:
        assert levels(np.asarray(image), store[4].image) <= HALF


@pytest.mark.parametrize("what", ["appearance", "structure"])
def test_an_interpolation_begins_and_ends_with_images_of_the_grid(
    published: Run, model: TrainedGenerator, store: StoreDataset, what: str
) -> None:
    donors = donors_in(store, model, published)[0]
    steps = generate_between(model, donors, [0.0, 1.0], what=what)
    with arithmetic("published"):
        pairs = generate_all(model, donors, donors)
    assert levels(steps if what == "structure" else steps.swapaxes(0, 1), pairs) <= 1


def test_a_preview_is_drawn_in_the_arithmetic_of_the_run(published: Run) -> None:
    settings = published.settings()
    images = LabelledImages.of(read_data(published.data_root(), settings.data), settings.data.image_size)
    networks = build_networks(settings, len(images.class_names), weights="none")
    content = checkpoints.load(published.checkpoint, checkpoints.DGNET)
    for name, network in networks.saved().items():
        network.load_state_dict(content["networks"][name])
    result = np.asarray(preview(networks, images, seed=settings.seed))
    networks.generator_ema.compute_as("fast")
    other = np.asarray(preview(networks, images, seed=settings.seed))
    networks.generator_ema.compute_as("published")
    expected = np.asarray(preview(networks, images, seed=settings.seed))
    assert np.array_equal(result, expected)
    assert levels(result, other) > 5 * HALF


def test_codes_are_made_in_the_recorded_arithmetic(published: Run, model: TrainedGenerator) -> None:
    pixels = torch.from_numpy(pixels_of(sorted(published.data_root().rglob("*.jpg"))[:4], model))
    plain = load_generator(published.checkpoint)
    plain.generator.structure_encoder.arithmetic = None
    result, _ = encode_images(model, pixels)
    with arithmetic("published"):
        expected, _ = encode_images(plain, pixels)
    with arithmetic("fast"):
        other, _ = encode_images(plain, pixels)
        again, _ = encode_images(model, pixels)
    assert torch.equal(result, expected)
    assert torch.equal(result, again)
    assert not torch.equal(result, other)


def test_a_thread_does_not_change_how_another_computes() -> None:
    seen: list[bool] = []
    with arithmetic("published"):
        thread = Thread(target=lambda: seen.append(as_published()))
        thread.start()
        thread.join()
        assert as_published()
    assert seen == [False]
    assert not as_published()
