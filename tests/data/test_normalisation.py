"""Between grey levels and the normalised space: the usual arithmetic, to the bit, and back without loss."""

from __future__ import annotations

import torch

from dgaug.data.normalisation import IMAGENET_MEAN, IMAGENET_STD, denormalise, normalise

LEVELS = torch.arange(256, dtype=torch.uint8)[:, None, None, None].expand(256, 2, 2, 3)


def test_every_level_is_normalised_as_by_tensors_of_constants() -> None:
    mean, deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    expected = ((LEVELS.float() / 255 - mean) / deviation).permute(0, 3, 1, 2)
    assert torch.equal(normalise(LEVELS), expected)


def test_every_level_comes_back() -> None:
    assert torch.equal(denormalise(normalise(LEVELS)), LEVELS)
