"""Metric losses by name, each with the miner it is used with in the field; all but one of pytorch-metric-learning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

MetricLoss = Callable[[Tensor, Tensor], Tensor]
"""From features [B, D] and labels [B] to a scalar."""

MARGIN = 0.3
"""Of the batch-hard triplet loss, Euclidean (Hermans et al., 2017; Luo et al., CVPR workshops 2019)."""


def metric_loss(name: str) -> MetricLoss:
    """`triplet` (batch hard), `circle`, `multi-similarity` (its own miner) or `contrastive`.

    Pairs and triplets are made within a batch; one without a pair costs nothing.
    """
    if name == "triplet":
        return batch_hard_triplet
    from pytorch_metric_learning import losses, miners

    made: dict[str, tuple[Any, Any]] = {
        "circle": (losses.CircleLoss(m=0.25, gamma=64), None),
        "multi-similarity": (losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner()),
        "contrastive": (losses.ContrastiveLoss(), None),
    }
    loss, miner = made[name]

    def of(features: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = loss(features, labels, None if miner is None else miner(features, labels))
        return value

    return of


def batch_hard_triplet(features: Tensor, labels: Tensor) -> Tensor:
    """Triplet loss of the furthest picture of the same identity and the nearest of another, mean of those above 0.

    That of pytorch-metric-learning with its miner, without choosing rows: for that the host would wait for a GPU.
    """
    apart = torch.cdist(features, features)
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    furthest = apart.masked_fill(~same | itself, -torch.inf).amax(dim=1)
    nearest = apart.masked_fill(same, torch.inf).amin(dim=1)
    violations = (furthest - nearest + MARGIN).clamp(min=0)  # 0 where there is no such picture
    return violations.sum() / (violations > 0).sum().clamp(min=1)
