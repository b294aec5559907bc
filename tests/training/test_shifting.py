"""Generated pictures are mirrored and shifted as the loader does it to files."""

from __future__ import annotations

import numpy as np
import torch

from dgaug.training.augmentation import shifted


def test_a_picture_is_mirrored_or_not_and_moved_by_at_most_the_padding() -> None:
    pictures = torch.randn(200, 3, 8, 6, generator=torch.Generator().manual_seed(0))
    moved = shifted(pictures, 1, np.random.default_rng(0))
    padded = torch.nn.functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    flipped = torch.nn.functional.pad(pictures.flip(3), (1, 1, 1, 1), mode="replicate")
    found = set()
    for number in range(200):
        crops = {
            (name, top, left): view[number, :, top : top + 8, left : left + 6]
            for name, view in (("as it was", padded), ("mirrored", flipped))
            for top in range(3)
            for left in range(3)
        }
        same = [place for place, crop in crops.items() if torch.equal(crop, moved[number])]
        assert len(same) == 1
        found.add(same[0])
    assert len(found) == 18


def test_without_padding_pictures_are_only_mirrored() -> None:
    pictures = torch.randn(8, 3, 4, 4)
    moved = shifted(pictures, 0, np.random.default_rng(1))
    for before, after in zip(pictures, moved, strict=True):
        assert torch.equal(after, before) or torch.equal(after, before.flip(2))
