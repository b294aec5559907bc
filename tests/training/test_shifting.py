"""Generated images are mirrored and shifted as the loader does it to files."""

from __future__ import annotations

import numpy as np
import torch

from dgaug.training.augmentation import shifted


def test_an_image_is_mirrored_or_not_and_moved_by_at_most_the_padding() -> None:
    images = torch.randn(200, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    moved = shifted(images, 1, np.random.default_rng(0))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
    flipped = torch.nn.functional.pad(images.flip(3), (1, 1, 1, 1), mode="replicate")
    result = set()
    for number in range(200):
        crops = {
            (name, top, left): view[number, :, top : top + 8, left : left + 6]
            for name, view in (("as it was", padded), ("mirrored", flipped))
            for top in range(3)
            for left in range(3)
        }
        same = [place for place, crop in crops.items() if torch.equal(crop, moved[number])]
        assert len(same) == 1
        result.add(same[0])
    assert len(result) == 18


def test_without_padding_images_are_only_mirrored() -> None:
    images = torch.randn(8, 3, 4, 4)
    moved = shifted(images, 0, np.random.default_rng(1))
    for before, after in zip(images, moved, strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(2))
