"""Generator: structure encoder, AdaIN parameters and decoder, the part of DG-Net that draws."""

from __future__ import annotations

from torch import Tensor, nn

from dgaug.models.decoder import AdaINParameters, Decoder
from dgaug.models.structure_encoder import StructureEncoder, grey


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
