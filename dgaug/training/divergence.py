"""When training has diverged, and which images it was shown then."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import nn

from dgaug.training.batches import TrainingImages
from dgaug.training.sampling import OrderedBatches

LARGEST = 1e4
"""Unweighted terms of a training that works stay below 100, and none came back from here."""
LARGEST_PENALTY = 1e6
"""The gradient penalty is a squared norm over all pixels, and weighs a hundredth."""
NAMED = 12
"""Images that a message names."""


def divergence(terms: Mapping[str, float]) -> str | None:
    """Why terms by name, unweighted but for `total`, show a training that has diverged; None: they do not."""
    broken = [name for name, value in terms.items() if not math.isfinite(value)]
    if broken:
        return f"the loss term {broken[0]!r} is not finite"
    for name, value in terms.items():
        limit = LARGEST_PENALTY if name == "gradient_penalty" else LARGEST
        if name != "total" and abs(value) > limit:
            return f"the loss term {name!r} has grown to {value:,.0f}"
    return None


def broken_weights(networks: Mapping[str, nn.Module]) -> str | None:
    """Which of some networks by name has weights or running statistics that are not finite; None: none of them."""
    for name, network in networks.items():
        tensors = [one for one in network.state_dict().values() if one.is_floating_point()]
        if not all(bool(torch.isfinite(one).all()) for one in tensors):
            return f"the weights of {name} are not finite"
    return None


def shown_images(dataset: TrainingImages, sampler: OrderedBatches, iterations: Iterable[int]) -> str:
    """The images of the whole batches of some iterations as a text, the ones of least contrast first."""
    draws = [draw for iteration in iterations for draw in sampler.whole(iteration)]
    rows = sorted({row for draw in draws for row in dataset.rows(draw)})
    names = [dataset.images.names[row] for row in sorted(rows, key=dataset.contrast)]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"images of least contrast first: {', '.join(names[:NAMED])}{more}"
