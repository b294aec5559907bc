"""Re-id networks: a backbone and one or two heads, and ensembles of them.

The two-head network is DG-Net's appearance encoder (method: appearance encoder); the one-head network is the
teacher (method: teacher). Both give the same kind of output, so either can be trained, used as a teacher and scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dgaug.models.backbones import create_backbone, pool_bands
from dgaug.models.decoder import BLOCKS
from dgaug.models.heads import HEADS, HeadOutput, mean_logits


class ReidOutput(NamedTuple):
    """Outputs of a re-id network for a batch of B images.

    Attributes:
        logits: class scores [B, C] of each head, prim first; of a head with parts their mean, as `mean_logits` has it.
        embeddings: the re-id feature [B, E] of each head.
        appearance: appearance codes [B, 4 * channels]; a one-head network gives them too, one from elsewhere none.
        heads: everything each head said, its parts apart.
    """

    logits: tuple[Tensor, ...]
    embeddings: tuple[Tensor, ...]
    appearance: Tensor
    heads: tuple[HeadOutput, ...] = ()


class AnyReidNetwork(nn.Module):
    """What tells identities apart, teaches, judges and is scored: from normalised images to `ReidOutput`.

    Attributes:
        classes: number of identities C.
        feature_length: D of `features`.
    """

    classes: int
    feature_length: int

    @torch.no_grad()
    def features(self, images: Tensor, *, flip: bool = True, unit: bool = True) -> Tensor:
        """Re-id features [B, heads * E] (method: re-id features).

        Args:
            images: normalised images [B, 3, H, W].
            flip: average over the image and its mirror.
            unit: give each view's and then each head's part unit length; otherwise embeddings stay as they are.
        """
        views = (images, images.flip(3)) if flip else (images,)
        parts = torch.stack([torch.stack([part.float() for part in self(view).embeddings]) for view in views])
        if unit:
            parts = functional.normalize(parts, dim=3)
        mean = parts.mean(dim=0)
        features: Tensor = torch.cat((functional.normalize(mean, dim=2) if unit else mean).unbind(), dim=1)
        return features


class ReidNetwork(AnyReidNetwork):
    """A backbone, a pooling and one head ("prim") or two ("prim", "fine").

    Args:
        backbone: name for `create_backbone`.
        classes: number of identities.
        dropouts: one per head.
        pool: `max` (appearance encoder) or `avg` (teacher).
        embedding: length of each head's feature (of a band's, where a head has bands).
        weights: weights of the backbone, see `create_backbone`.
        last_stride: stride of the backbone's last stage.
        head: the kind of each head: `linear`, `bnneck` or `stripes`.
    """

    def __init__(
        self,
        backbone: str,
        classes: int,
        *,
        dropouts: tuple[float, ...],
        pool: str,
        embedding: int = 512,
        weights: str = "none",
        last_stride: int = 1,
        head: str = "linear",
    ) -> None:
        super().__init__()
        self.backbone = create_backbone(backbone, weights=weights, last_stride=last_stride)
        channels = self.backbone.channels
        self.pool = pool
        self.classes = classes
        self.code_length = BLOCKS * channels
        heads = [HEADS[head](channels, embedding, classes, dropout) for dropout in dropouts]
        self.feature_length = sum(one.length for one in heads)
        self.stripes = HEADS[head].stripes
        self.heads = nn.ModuleList(heads)

    def forward(self, images: Tensor, *, dropout: bool | None = None) -> ReidOutput:
        """Everything about normalised images [B, 3, H, W]; `dropout` None follows the training mode."""
        active = self.training if dropout is None else dropout
        maps = self.backbone(images)
        pooled = pool_bands(maps, self.stripes, kind=self.pool)
        heads: list[HeadOutput] = [head(pooled, dropout=active) for head in self.heads]
        logits, embeddings = (tuple(mean_logits(one.parts) for one in heads), tuple(one.embedding for one in heads))
        return ReidOutput(logits, embeddings, pool_bands(maps, BLOCKS, kind="max"), tuple(heads))


class Ensemble(AnyReidNetwork):
    """Re-id networks of the same identities that answer like one network with one head.

    What prim logits are to one network is here the log of the mean softmax, so a softmax of it is that mean.
    """

    def __init__(self, members: Sequence[ReidNetwork]) -> None:
        super().__init__()
        self._members = nn.ModuleList(members)
        self.classes = members[0].classes
        self.feature_length = sum(member.feature_length for member in members)

    @property
    def members(self) -> list[ReidNetwork]:
        """The networks, in order."""
        return [member for member in self._members if isinstance(member, ReidNetwork)]

    def forward(self, images: Tensor) -> ReidOutput:
        """Log probabilities [B, C], embeddings [B, sum of E] and the first member's appearance codes."""
        seen: list[ReidOutput] = [member(images) for member in self.members]
        mean = mean_logits([output.logits[0] for output in seen])
        embedding = torch.cat([part for output in seen for part in output.embeddings], dim=1)
        return ReidOutput((mean,), (embedding,), seen[0].appearance)

    @torch.no_grad()
    def features(self, images: Tensor, *, flip: bool = True, unit: bool = True) -> Tensor:
        """Re-id features [B, sum of heads * E] of every member, see `ReidNetwork.features`."""
        return torch.cat([member.features(images, flip=flip, unit=unit) for member in self.members], dim=1)


@torch.no_grad()
def soft_labels(teacher: nn.Module, images: Tensor) -> Tensor:
    """Soft labels [B, C] of normalised images: the teacher's softmax averaged over the image and its mirror.

    A GPU computes both views at once, unless batch norm must see each alone.
    """
    if images.is_cuda and not teacher.training:
        both: Tensor = teacher(torch.cat((images, images.flip(3)))).logits[0].float().softmax(dim=1)
        return both.view(2, len(images), -1).mean(dim=0)
    views: list[Tensor] = [teacher(view).logits[0].float().softmax(dim=1) for view in (images, images.flip(3))]
    return (views[0] + views[1]) / 2
