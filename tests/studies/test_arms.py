"""The arms of a study: what they are fed with in place of generated images, and that they see as many images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import tiny_settings
from virtual_stores import write_tiny_virtual

from dgaug.data.normalisation import denormalise
from dgaug.data.prepare import read_data
from dgaug.data.toy import ToyWorld
from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.studies.arms import ARMS, require_arms, source_of, variant
from dgaug.studies.feeds import Labelling, open_source
from dgaug.training.batches import LabelledImages

LABELLING = Labelling("soft", False, None, None)


@pytest.fixture(scope="module")
def images(tiny_run: Run) -> LabelledImages:
    data = tiny_run.settings().data
    return LabelledImages.of(read_data(tiny_run.data_root(), data), data.image_size)


def test_copies_and_true_images_stand_under_the_targets_of_the_generated_ones(
    tiny_run: Run, images: LabelledImages
) -> None:
    root, settings = tiny_run.data_root(), tiny_settings()
    source = open_source(tiny_run.store, images, LABELLING)
    batches = {}
    for name in ("generated", "copied", "true"):
        feed = variant(name, "dgnet", settings.reid, source_of(name, source, images, root)).feed
        assert feed is not None
        batches[name] = feed(3)(1)
    generated = batches["generated"]
    stored = {source.store[row].image.tobytes(): row for row in range(len(source.store))}
    rows = [stored[pixels.numpy().tobytes()] for pixels in denormalise(generated.images)]
    pairs, world = source.store.pairs()[rows], ToyWorld.open(root)
    for place, (appearance, structure) in enumerate(pairs):
        copied, true = (denormalise(batches[name].images)[place].numpy() for name in ("copied", "true"))
        assert np.array_equal(copied, images.resized[structure])
        names = (source.store.sources.path[one] for one in (appearance, structure))
        assert np.array_equal(true, world.true_image(*names, (64, 32)))
    for name in ("copied", "true"):
        assert not torch.equal(batches[name].images, generated.images)
        assert torch.equal(batches[name].targets, generated.targets)


def test_every_arm_sees_as_many_images_in_a_step(tiny_run: Run, images: LabelledImages, tmp_path: Path) -> None:
    reid, stored = tiny_settings().reid, open_source(tiny_run.store, images, LABELLING)
    stored = replace(stored, trusted=np.zeros(len(stored.store), np.bool_))
    codes = open_source(
        write_tiny_virtual(tiny_run, tmp_path / "codes"), images, replace(LABELLING, policy="appearance")
    )
    for name, arm in ARMS.items():
        source = codes if arm.needs_codes else stored
        made = variant(name, "dgnet", reid, source if arm.fed else None)
        generated = 0 if made.feed is None else len(made.feed(0)(0).images)
        assert made.reid.batch_size + generated == 16, name


def test_arms_that_say_nothing_are_refused() -> None:
    with pytest.raises(DgaugError, match="unknown arm 'fake' in --arms; known are real, augmented"):
        require_arms(["real", "fake"], embedded=True)
    with pytest.raises(DgaugError, match="read off the arm 'real'; add it"):
        require_arms(["augmented", "generated"], embedded=True)
    with pytest.raises(DgaugError, match="'structures' tests the models of 'generated'; add it"):
        require_arms(["real", "structures"], embedded=True)
    with pytest.raises(DgaugError, match="'true' needs the embedded data"):
        require_arms(["real", "true"], embedded=False)
