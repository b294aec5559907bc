"""Generated batches are made one iteration ahead beside an accelerator, and are the same."""

from __future__ import annotations

import threading

import pytest
import torch

from dgaug.training.reid_loop import ahead_of
from dgaug.training.reid_losses import GeneratedBatch


class Recorder:
    """A feed that remembers what was asked of it, and by which thread."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.threads: set[int] = set()

    def __call__(self, iteration: int) -> GeneratedBatch:
        self.asked.append(iteration)
        self.threads.add(threading.get_ident())
        if iteration == 9:
            raise ValueError("image 9 is damaged")
        return GeneratedBatch(*(torch.full((1,), float(iteration)) for _ in range(4)))


def test_the_next_batch_is_made_while_this_one_is_used() -> None:
    feed = Recorder()
    with ahead_of(feed, torch.device("meta")) as ahead:
        assert ahead is not None
        assert [ahead(iteration).targets.item() for iteration in (3, 4, 5)] == [3, 4, 5]
    assert feed.asked == [3, 4, 5, 6]
    assert len(feed.threads) == 1
    assert threading.get_ident() not in feed.threads


def test_what_goes_wrong_ahead_is_said_when_its_turn_comes() -> None:
    with ahead_of(Recorder(), torch.device("meta")) as ahead:
        assert ahead is not None
        ahead(8)
        with pytest.raises(ValueError, match="image 9 is damaged"):
            ahead(9)


def test_beside_a_cpu_nothing_is_made_ahead() -> None:
    feed = Recorder()
    with ahead_of(feed, torch.device("cpu")) as ahead:
        assert ahead is feed
    with ahead_of(None, torch.device("meta")) as ahead:
        assert ahead is None
