"""Random numbers that belong to what they are for, and to nothing that happened before.

Every draw is a function of a purpose, a seed and a place (an iteration, an epoch, an image's position), so a run
that resumes after a stop draws what it would have drawn, and two purposes never share a stream.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch

Key = tuple[int, ...]


def key(purpose: str, seed: int, *place: int) -> Key:
    """The entropy of a purpose at a place; its length is part of it, because NumPy pads with zeros."""
    return (zlib.crc32(purpose.encode()), len(place), seed, *place)


def draws(purpose: str, seed: int, *place: int) -> np.random.Generator:
    """NumPy's generator for a purpose at a place."""
    return np.random.default_rng(key(purpose, seed, *place))


def seed_torch(purpose: str, seed: int, *place: int) -> None:
    """Make torch's own draws (initial weights, dropout) belong to a purpose at a place."""
    torch.manual_seed(int(draws(purpose, seed, *place).integers(2**62)))
