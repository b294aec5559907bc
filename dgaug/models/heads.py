"""Heads of re-id networks: from pooled features to class scores and to the feature that is ranked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class HeadOutput(NamedTuple):
    """What a head says of B images.

    Attributes:
        parts: class scores [B, C] of each of its parts, each trained by itself; most heads have one.
        embedding: the re-id feature [B, E].
        metric: what metric losses compare [B, D].
    """

    parts: tuple[Tensor, ...]
    embedding: Tensor
    metric: Tensor


class Head(nn.Module):
    """Linear, batch norm, dropout, linear; the embedding is what batch norm returns (method: appearance encoder)."""

    stripes = 1

    def __init__(self, channels: int, embedding: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, embedding)
        self.norm = nn.BatchNorm1d(embedding)
        self.classify = nn.Linear(embedding, classes)
        self.dropout = dropout
        self.length = embedding
        nn.init.kaiming_normal_(self.reduce.weight, a=0, mode="fan_out")
        nn.init.zeros_(self.reduce.bias)
        nn.init.normal_(self.classify.weight, std=0.001)
        nn.init.zeros_(self.classify.bias)

    def forward(self, pooled: Tensor, *, dropout: bool) -> HeadOutput:
        """What it says of pooled features [B, channels]."""
        embedding = self.norm(self.reduce(pooled))
        logits = self.classify(functional.dropout(embedding, self.dropout, training=dropout))
        return HeadOutput((logits,), embedding, embedding)


class BnNeck(nn.Module):
    """Batch norm without shift, then a linear layer without bias (Luo et al., CVPR workshops 2019, section 3.5).

    The pooled features go to the metric loss, the normalised ones are ranked.
    """

    stripes = 1

    def __init__(self, channels: int, embedding: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)
        self.norm.bias.requires_grad_(False)
        self.classify = nn.Linear(channels, classes, bias=False)
        self.dropout = dropout
        self.length = channels
        nn.init.normal_(self.classify.weight, std=0.001)

    def forward(self, pooled: Tensor, *, dropout: bool) -> HeadOutput:
        """What it says of pooled features [B, channels]."""
        embedding = self.norm(pooled)
        logits = self.classify(functional.dropout(embedding, self.dropout, training=dropout))
        return HeadOutput((logits,), embedding, pooled)


class Stripes(nn.Module):
    """A head of its own for each of six horizontal bands, the embeddings side by side (PCB: Sun et al., ECCV 2018)."""

    stripes = 6

    def __init__(self, channels: int, embedding: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.channels = channels
        self.bands = nn.ModuleList(Head(channels, embedding, classes, dropout) for _ in range(self.stripes))
        self.length = self.stripes * embedding

    def forward(self, pooled: Tensor, *, dropout: bool) -> HeadOutput:
        """What it says of pooled features [B, channels * 6], bands innermost."""
        # The batch size is left open, so that a traced head takes any.
        bands = pooled.view(-1, self.channels, self.stripes).unbind(dim=2)
        seen = [head(band, dropout=dropout) for head, band in zip(self.bands, bands, strict=True)]
        embedding = torch.cat([output.embedding for output in seen], dim=1)
        return HeadOutput(tuple(output.parts[0] for output in seen), embedding, embedding)


HEADS: dict[str, type[Head] | type[BnNeck] | type[Stripes]] = {"linear": Head, "bnneck": BnNeck, "stripes": Stripes}


def mean_logits(parts: Sequence[Tensor]) -> Tensor:
    """Class scores [B, C] whose softmax is the mean softmax of the parts; one part is what it is."""
    if len(parts) == 1:
        return parts[0]
    likely = torch.stack([logits.float().log_softmax(dim=1) for logits in parts])
    return likely.logsumexp(dim=0) - math.log(len(parts))
