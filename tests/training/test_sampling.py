"""Which images a batch holds: identities in balance, shares that make up the whole."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from tiny_run import tiny_settings

from dgaug.errors import DgaugError
from dgaug.training.sampling import WHOLE, OrderedBatches, SampledRow, Share, balanced, require_identities, shuffled

LABELS = torch.tensor([0] * 12 + [1] * 3 + [2] * 1 + [3] * 8)


def batches(count: int, *, share: Share = WHOLE, start: int = 0) -> list[list[SampledRow]]:
    sampler = OrderedBatches(shuffled(20), 8, phase="test", seed=1, streams=2, share=share, start=start)
    return list(itertools.islice(sampler, count))


@pytest.mark.parametrize("per_identity", [1, 2, 4])
def test_a_balanced_order_shows_identities_equally_often_in_groups(per_identity: int) -> None:
    order = balanced(LABELS, per_identity)(np.random.default_rng(0))
    assert len(order) == len(LABELS)
    groups = LABELS.numpy()[order].reshape(-1, per_identity)
    assert (groups == groups[:, :1]).all()
    shown = Counter(groups[:, 0].tolist())
    assert max(shown.values()) - min(shown.get(label, 0) for label in range(4)) <= 1


def test_a_balanced_batch_holds_as_many_identities_as_groups() -> None:
    sampler = OrderedBatches(balanced(LABELS, 2), 8, phase="test", seed=3)
    for batch in itertools.islice(sampler, 3):
        assert Counter(LABELS[[draw.row for draw in batch]].tolist()) == {0: 2, 1: 2, 2: 2, 3: 2}


def test_a_balanced_order_takes_every_image_of_an_identity_before_one_comes_again() -> None:
    order = balanced(LABELS, 4)(np.random.default_rng(0))
    for label, images in enumerate(torch.bincount(LABELS).tolist()):
        shown = [row for row in order if LABELS[row] == label]
        first = shown[:images]
        assert len(set(first)) == len(first)


def test_shares_make_up_the_batch_of_one_process() -> None:
    whole = batches(6)
    parts = [batches(12, share=Share(index, 2, 2)) for index in range(2)]
    for iteration, batch in enumerate(whole):
        shared = [parts[index][2 * iteration + turn] for index in range(2) for turn in range(2)]
        sides = [[draw for part in shared for draw in part[side * 2 : side * 2 + 2]] for side in range(2)]
        assert sides[0] + sides[1] == batch


def test_a_share_resumes_anywhere() -> None:
    share = Share(1, 2, 2)
    assert batches(10, share=share)[6:] == batches(4, share=share, start=3)


@pytest.mark.parametrize(("size", "count", "turns"), [(8, 3, 1), (8, 8, 1), (8, 2, 3), (4, 2, 2)])
def test_a_batch_that_cannot_be_cut_is_refused(size: int, count: int, turns: int) -> None:
    with pytest.raises(DgaugError, match=f"a batch of {size} cannot be shared by {count} processes in {turns}"):
        Share(0, count, turns).rows(size, 0)


ONE_IDENTITY = [
    ({"batch_size": 4, "per_identity": 4}, "a batch of 4", 8),
    ({"batch_size": 4, "per_identity": 16}, "a batch of 4", 32),
    ({"batch_size": 8, "per_identity": 4, "accumulation": 2}, "a micro-batch of 4", 16),
]


@pytest.mark.parametrize("section", ["reid", "teacher", "schedule"])
@pytest.mark.parametrize(("values", "part", "least"), ONE_IDENTITY)
def test_a_batch_that_shows_one_identity_is_refused(
    section: str, values: dict[str, object], part: str, least: int
) -> None:
    settings = getattr(tiny_settings(**{section: {"sampler": "balanced"} | values}), section)
    with pytest.raises(DgaugError, match=part) as messages:
        require_identities(settings, section, Share(turns=settings.accumulation))
    assert f"--set {section}.batch_size={least} " in str(messages.value)
    enough = settings.model_copy(update={"batch_size": least})
    require_identities(enough, section, Share(turns=settings.accumulation))
    require_identities(settings.model_copy(update={"sampler": "shuffled"}), section)


def test_a_share_of_a_batch_counts_as_a_batch() -> None:
    settings = tiny_settings(reid={"sampler": "balanced", "batch_size": 8, "per_identity": 4}).reid
    require_identities(settings, "reid")
    with pytest.raises(DgaugError, match="a micro-batch of 4"):
        require_identities(settings, "reid", Share(0, 2, 1))
