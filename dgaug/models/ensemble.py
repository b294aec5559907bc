"""Several teachers as one: their class probabilities averaged, their features side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dgaug.models.heads import mean_logits
from dgaug.models.reid import AnyReidNetwork, ReidNetwork, ReidOutput


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

    def forward(self, pictures: Tensor) -> ReidOutput:
        """Log probabilities [B, C], embeddings [B, sum of E] and the first member's appearance codes."""
        seen: list[ReidOutput] = [member(pictures) for member in self.members]
        mean = mean_logits([output.logits[0] for output in seen])
        embedding = torch.cat([part for output in seen for part in output.embeddings], dim=1)
        return ReidOutput((mean,), (embedding,), seen[0].appearance)

    @torch.no_grad()
    def features(self, pictures: Tensor, *, flip: bool = True, unit: bool = True) -> Tensor:
        """Re-id features [B, sum of heads * E] of every member, see `ReidNetwork.features`."""
        return torch.cat([member.features(pictures, flip=flip, unit=unit) for member in self.members], dim=1)
