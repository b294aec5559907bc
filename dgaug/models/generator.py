"""Generator: structure encoder, AdaIN parameters and decoder, the part of DG-Net that draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dgaug.data.normalisation import denormalise
from dgaug.models.decoder import AdaINParameters, Decoder
from dgaug.models.structure_encoder import StructureEncoder, grey

AT_ONCE = 16
"""Structures of a grid that are decoded at a time: the memory of the decoder grows with them."""


class Generator(nn.Module):
    """Draws an appearance on a structure.

    Args:
        image_size: [H, W], multiples of 16.
        code_length: numbers in an appearance code.
        width: channels relative to the published network.
    """

    def __init__(self, image_size: tuple[int, int], code_length: int, width: float = 1.0) -> None:
        super().__init__()
        self.structure_encoder = StructureEncoder(image_size, width)
        self.adain = AdaINParameters(code_length, self.structure_encoder.channels, width)
        self.decoder = Decoder(self.structure_encoder.channels)

    def compute_as(self, arithmetic: str) -> None:
        """Have both networks of images compute as `published` or `fast`, whoever calls them."""
        self.structure_encoder.arithmetic = self.decoder.arithmetic = arithmetic

    def structure(self, images: Tensor) -> Tensor:
        """Structure codes [B, C, H / 4, W / 4] of normalised images [B, 3, H, W]."""
        code: Tensor = self.structure_encoder(grey(images))
        return code

    def forward(self, structure: Tensor, appearance: Tensor) -> Tensor:
        """Images [B, 3, H, W] of appearance codes [B, code] on structure codes."""
        image: Tensor = self.decoder(structure, self.adain(appearance))
        return image


@torch.no_grad()
def every_pair(decoder: Decoder, structures: Sequence[Tensor], adain: Tensor) -> NDArray[np.uint8]:
    """Every appearance on every structure: images uint8 [A, S, H, W, 3].

    Args:
        structures: structure codes [S, C, H / 4, W / 4] in the parts that are decoded at a time, `AT_ONCE` each.
        adain: AdaIN parameters [A, 4, 2, 2, C].
    """
    rows = []
    for row in adain:
        parts = [decoder(part, row.expand(len(part), *row.shape)) for part in structures]
        rows.append(torch.cat([denormalise(part) for part in parts]))
    return torch.stack(rows).cpu().numpy()
