"""Label policies: what a reader makes of the teacher's soft label and the two donors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

Policy = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From soft labels [B, C] and the donors' classes, appearance [B] and structure [B], to targets [B, C]."""


def soft(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """The teacher's soft label itself (DG-Net)."""
    return label


def by_appearance(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """One-hot of the appearance donor: what a plain folder of pictures means."""
    return one_hot(appearance, label.shape[1]).to(label.dtype)


def pseudo(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """One-hot of the teacher's most probable class (Lee, 2013)."""
    return one_hot(label.argmax(dim=1), label.shape[1]).to(label.dtype)


def lsro(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """The uniform label (Zheng et al., ICCV 2017)."""
    return torch.full_like(label, 1 / label.shape[1])


def two_soft(label: Tensor, appearance: Tensor, structure: Tensor) -> Tensor:
    """The soft label restricted to the two donors and renormalised; half each where it knows neither."""
    donors = (by_appearance(label, appearance, structure) + one_hot(structure, label.shape[1])).clamp(max=1)
    kept = label * donors + 1e-9 * donors
    return kept / kept.sum(dim=1, keepdim=True)


POLICIES: dict[str, Policy] = {
    "soft": soft,
    "appearance": by_appearance,
    "pseudo": pseudo,
    "lsro": lsro,
    "two-soft": two_soft,
}
