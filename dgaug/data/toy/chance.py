"""Seeded chance that does not depend on the NumPy version or on the order of the calls."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def chance(seed: int, *words: str | int) -> random.Random:
    """A generator of its own for each purpose: equal seed and words, equal draws."""
    return random.Random("/".join(["dgaug-toy", str(seed), *map(str, words)]))


def weighted(draw: random.Random, weights: Mapping[T, float]) -> T:
    """One key of `weights`, drawn in proportion to its value."""
    return draw.choices(list(weights), weights=list(weights.values()))[0]
