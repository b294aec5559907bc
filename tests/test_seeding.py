"""Random numbers belong to what they are for."""

from __future__ import annotations

import torch

from dgaug.seeding import draws, seed_torch


def test_equal_purposes_at_equal_places_draw_alike() -> None:
    assert draws("order", 1, 2, 3).random() == draws("order", 1, 2, 3).random()


def test_every_other_purpose_seed_or_place_draws_something_else() -> None:
    keys = [("order", 1, 2), ("erase", 1, 2), ("order", 2, 2), ("order", 1, 3), ("order", 1), ("order", 1, 2, 0)]
    keys += [("order", 1, 0), ("order", 0), ("order", 0, 0), ("order", 0, 1)]
    assert len({draws(purpose, seed, *place).random() for purpose, seed, *place in keys}) == len(keys)


def test_torch_is_seeded_whatever_came_before() -> None:
    seed_torch("weights", 5, 7)
    first = torch.rand(3)
    torch.rand(100)
    seed_torch("weights", 5, 7)
    assert torch.equal(torch.rand(3), first)
    seed_torch("weights", 5, 8)
    assert not torch.equal(torch.rand(3), first)
