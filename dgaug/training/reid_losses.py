"""What a re-id network learns from: its terms on real and on generated images, and their weights.

Prim: Kullback-Leibler divergence to the target of a generated image; fine: its structure donor (method: total).
Metric losses are those of pytorch-metric-learning, each with the miner it is used with in the field.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgaug.models.reid import ReidNetwork
from dgaug.settings import FeedSettings, ReidSettings

MetricLoss = Callable[[Tensor, Tensor], Tensor]
"""From features [B, D] and labels [B] to a scalar."""
SMALLEST_FEED = 2
"""Batch norm needs two images in a micro-batch."""
TRIPLET_MARGIN = 0.3
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
    """Triplet loss of the furthest image of the same identity and the nearest of another, mean of those above 0.

    That of pytorch-metric-learning with its miner, without choosing rows: for that the host would wait for a GPU.
    """
    apart = torch.cdist(features, features)
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    furthest = apart.masked_fill(~same | itself, -torch.inf).amax(dim=1)
    nearest = apart.masked_fill(same, torch.inf).amin(dim=1)
    violations = (furthest - nearest + TRIPLET_MARGIN).clamp(min=0)  # 0 where there is no such image
    return violations.sum() / (violations > 0).sum().clamp(min=1)


@dataclass(frozen=True)
class GeneratedBatch:
    """Generated images for training.

    Attributes:
        images: normalised [S, 3, H, W].
        targets: soft labels [S, C].
        structure_labels: the structure donors' classes [S].
        weights: what each image counts [S]; a real one counts 1.
    """

    images: Tensor
    targets: Tensor
    structure_labels: Tensor
    weights: Tensor

    def part(self, rows: range) -> GeneratedBatch:
        """Some rows."""
        part = slice(rows.start, rows.stop)
        return GeneratedBatch(self.images[part], self.targets[part], self.structure_labels[part], self.weights[part])

    def to(self, device: torch.device) -> GeneratedBatch:
        """The same on a device."""
        return GeneratedBatch(*(one.to(device) for one in vars(self).values()))


Feed = Callable[[int], GeneratedBatch]
"""The generated batch of an iteration."""


class ReidTerms(nn.Module):
    """Every term of a re-id network's loss, in one forward pass."""

    def __init__(self, network: ReidNetwork, settings: ReidSettings) -> None:
        super().__init__()
        self.network = network
        self.feeding = settings if isinstance(settings, FeedSettings) else FeedSettings()
        self._metric = None if self.feeding.metric == "none" else metric_loss(self.feeding.metric)

    def forward(self, images: Tensor, labels: Tensor, generated: GeneratedBatch | None) -> dict[str, Tensor]:
        """Terms of real images [B, 3, H, W] with labels [B], and of generated ones."""
        heads = self.network(images).heads
        names = ("identification", "real_fine")
        terms = {name: self._identification(head.parts, labels) for name, head in zip(names, heads, strict=False)}
        if self._metric is not None:
            terms["metric"] = self._metric(heads[0].metric.float(), labels)
        return terms if generated is None else terms | self._generated(generated.to(labels.device))

    def _identification(self, parts: Sequence[Tensor], labels: Tensor) -> Tensor:
        smoothing = self.feeding.label_smoothing
        losses = [functional.cross_entropy(one.float(), labels, label_smoothing=smoothing) for one in parts]
        return torch.stack(losses).mean()

    def _generated(self, generated: GeneratedBatch) -> dict[str, Tensor]:
        heads = self.network(generated.images).heads
        terms = {"teacher": torch.stack([_divergence(part, generated) for part in heads[0].parts]).mean()}
        if len(heads) > 1:
            fine = functional.cross_entropy(heads[1].parts[0].float(), generated.structure_labels, reduction="none")
            terms["fine"] = (generated.weights * fine).mean()
        return terms


def _divergence(logits: Tensor, generated: GeneratedBatch) -> Tensor:
    likely = logits.float().log_softmax(dim=1)
    each = functional.kl_div(likely, generated.targets, reduction="none").sum(dim=1)
    return (generated.weights * each).mean()


def generated_at(settings: FeedSettings, iteration: int) -> int:
    """Generated images in the step of an iteration that has some."""
    ratio = _scheduled(settings.ratio, settings.ratio_end, iteration, settings.iterations)
    return max(SMALLEST_FEED * settings.accumulation, round(settings.batch_size * ratio))


def fullest_iteration(settings: FeedSettings) -> int:
    """One of those with the most generated images."""
    ends = (0, settings.iterations - 1)
    return max(ends, key=lambda iteration: generated_at(settings, iteration))


def _scheduled(start: float, end: float | None, iteration: int, iterations: int) -> float:
    """A value that changes evenly from the first iteration to the last."""
    return start if end is None else start + (end - start) * iteration / max(1, iterations - 1)


def term_weights(settings: ReidSettings, iteration: int) -> dict[str, float]:
    """Weights by term: the published ones, the fine head on real images from the start."""
    if not isinstance(settings, FeedSettings):
        return {"identification": 1.0}
    start, length = (share * settings.iterations for share in (settings.ramp_start, settings.ramp_length))
    full = _scheduled(settings.teacher, settings.teacher_end, iteration, settings.iterations)
    teacher = full * min(1.0, max(0.0, (iteration + 1 - start) / max(1.0, length)))
    if iteration >= settings.stop_generated * settings.iterations:
        teacher = 0.0
    return {
        "identification": 1.0,
        "metric": settings.metric_weight,
        "real_fine": settings.real_fine,
        "teacher": teacher,
        "fine": settings.fine * teacher,
    }
