"""What a re-id network learns from: its terms on real and on generated pictures, and their weights.

Prim: Kullback-Leibler divergence to the target of a generated picture; fine: its structure donor (method: total).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgaug.models.reid import ReidNetwork
from dgaug.settings import FeedSettings, ReidSettings
from dgaug.training.metric import metric_loss


@dataclass(frozen=True)
class GeneratedBatch:
    """Generated pictures for training.

    Attributes:
        pictures: normalised [S, 3, H, W].
        targets: soft labels [S, C].
        structure_labels: the structure donors' classes [S].
        weights: what each picture counts [S]; a real one counts 1.
    """

    pictures: Tensor
    targets: Tensor
    structure_labels: Tensor
    weights: Tensor

    def part(self, rows: range) -> GeneratedBatch:
        """Some rows."""
        part = slice(rows.start, rows.stop)
        return GeneratedBatch(self.pictures[part], self.targets[part], self.structure_labels[part], self.weights[part])

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

    def forward(self, pictures: Tensor, labels: Tensor, generated: GeneratedBatch | None) -> dict[str, Tensor]:
        """Terms of real pictures [B, 3, H, W] with labels [B], and of generated ones."""
        heads = self.network(pictures).heads
        names = ("identification", "real_fine")
        terms = {name: self._identification(head.parts, labels) for name, head in zip(names, heads, strict=False)}
        if self._metric is not None:
            terms["metric"] = self._metric(heads[0].metric.float(), labels)
        return terms if generated is None else terms | self._generated(generated.to(labels.device))

    def _identification(self, parts: Sequence[Tensor], labels: Tensor) -> Tensor:
        smoothing = self.feeding.label_smoothing
        found = [functional.cross_entropy(one.float(), labels, label_smoothing=smoothing) for one in parts]
        return torch.stack(found).mean()

    def _generated(self, generated: GeneratedBatch) -> dict[str, Tensor]:
        heads = self.network(generated.pictures).heads
        terms = {"teacher": torch.stack([_divergence(part, generated) for part in heads[0].parts]).mean()}
        if len(heads) > 1:
            fine = functional.cross_entropy(heads[1].parts[0].float(), generated.structure_labels, reduction="none")
            terms["fine"] = (generated.weights * fine).mean()
        return terms


def _divergence(logits: Tensor, generated: GeneratedBatch) -> Tensor:
    likely = logits.float().log_softmax(dim=1)
    each = functional.kl_div(likely, generated.targets, reduction="none").sum(dim=1)
    return (generated.weights * each).mean()


def term_weights(settings: ReidSettings, iteration: int) -> dict[str, float]:
    """Weights by term: the published ones, the fine head on real pictures from the start."""
    if not isinstance(settings, FeedSettings):
        return {"identification": 1.0}
    start, length = (share * settings.iterations for share in (settings.ramp_start, settings.ramp_length))
    teacher = settings.teacher * min(1.0, max(0.0, (iteration + 1 - start) / max(1.0, length)))
    return {
        "identification": 1.0,
        "metric": settings.metric_weight,
        "real_fine": settings.real_fine,
        "teacher": teacher,
        "fine": settings.fine * teacher,
    }
