"""Metric losses of pytorch-metric-learning by name, each with the miner it is used with in the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

MetricLoss = Callable[[Tensor, Tensor], Tensor]
"""From features [B, D] and labels [B] to a scalar."""

MARGIN = 0.3
"""Of the batch-hard triplet loss, Euclidean (Hermans et al., 2017; Luo et al., CVPR workshops 2019)."""


def metric_loss(name: str) -> MetricLoss:
    """`triplet` (batch hard), `circle`, `multi-similarity` (its own miner) or `contrastive`.

    Pairs and triplets are made within a batch; one without a pair costs nothing.
    """
    from pytorch_metric_learning import distances, losses, miners

    euclidean = distances.LpDistance(normalize_embeddings=False)
    made: dict[str, tuple[Any, Any]] = {
        "triplet": (losses.TripletMarginLoss(MARGIN, distance=euclidean), miners.BatchHardMiner(distance=euclidean)),
        "circle": (losses.CircleLoss(m=0.25, gamma=64), None),
        "multi-similarity": (losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner()),
        "contrastive": (losses.ContrastiveLoss(), None),
    }
    loss, miner = made[name]

    def of(features: Tensor, labels: Tensor) -> Tensor:
        value: Tensor = loss(features, labels, None if miner is None else miner(features, labels))
        return value

    return of
