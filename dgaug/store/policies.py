"""Label policies: what a reader makes of the teacher's soft label and the two donors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import one_hot

Policy = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From soft labels [B, C] and the donors' classes, appearance [B] and structure [B], to targets [B, C]; `extra-class`
makes them [B, C + 1]."""
EXTRA_CLASS = "generated"
LABEL_FREE = ("appearance", "structure", "lsro", "extra-class")
"""Policies that need no teacher's label."""


def soft(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """The teacher's soft label itself (DG-Net)."""
    return label


def by_appearance(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """One-hot of the appearance donor: what a plain folder of images means."""
    return one_hot(appearance, label.shape[1]).to(label.dtype)


def by_structure(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """One-hot of the structure donor: what DG-Net's fine head learns, here for a network that has no such head."""
    return one_hot(structure, label.shape[1]).to(label.dtype)


def pseudo(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """One-hot of the teacher's most probable class (Lee, 2013)."""
    return one_hot(label.argmax(dim=1), label.shape[1]).to(label.dtype)


def lsro(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """The uniform label (Zheng et al., ICCV 2017)."""
    return torch.full_like(label, 1 / label.shape[1])


def mprl(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """Weights by the rank of each class to the teacher, 1 for the most probable down to 1 / C, made to sum to one.

    The static form of Huang et al., TIP 2019. Equally probable classes share the mean of their ranks, as those do
    whose probability was not stored.
    """
    ordered = label.sort(dim=1).values.contiguous()
    below, up_to = (torch.searchsorted(ordered, label.contiguous(), right=right) for right in (False, True))
    weight = (below + up_to + 1).to(label.dtype)
    return weight / weight.sum(dim=1, keepdim=True)


def extra_class(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """One-hot of a class of its own after all identities, [B, C + 1] ("all in one", Zheng et al., ICCV 2017)."""
    target = label.new_zeros(len(label), label.shape[1] + 1)
    target[:, -1] = 1
    return target


def two_soft(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """The soft label restricted to the two donors and renormalised; half each where it knows neither."""
    donors = (by_appearance(label, appearance, structure) + one_hot(structure, label.shape[1])).clamp(max=1)
    kept = label * donors + 1e-9 * donors
    return kept / kept.sum(dim=1, keepdim=True)


POLICIES: dict[str, Policy] = {
    "soft": soft,
    "appearance": by_appearance,
    "structure": by_structure,
    "pseudo": pseudo,
    "lsro": lsro,
    "mprl": mprl,
    "two-soft": two_soft,
    "extra-class": extra_class,
}


def policy_classes(policy: str, class_names: Sequence[str]) -> list[str]:
    """The classes of a policy's targets: the identities, and after them the one that `extra-class` adds."""
    return [*class_names, EXTRA_CLASS] if policy == "extra-class" else list(class_names)
