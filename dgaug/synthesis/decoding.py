"""From pairs to finished pictures: decode, round, label, encode, in padded micro-batches of one size."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.pixels import normalise
from dgaug.models.decoder import Decoder
from dgaug.models.ensemble import Ensemble
from dgaug.models.reid import ReidNetwork, soft_labels
from dgaug.store.codecs import encode
from dgaug.store.codes import Codes, Rows
from dgaug.store.drawing import draw_padded
from dgaug.store.shards import PictureBatch


@dataclass(frozen=True)
class PairDecoder:
    """Everything needed to turn pairs into pictures and labels, on one device.

    A picture depends on its pair alone: batches are padded to `micro_batch`, networks are in eval mode.
    """

    codes: Codes
    decoder: Decoder
    teacher: ReidNetwork | Ensemble | None
    micro_batch: int
    precision: str = "fp32"

    @torch.no_grad()
    def draw(self, appearance: Rows, structure: Rows) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Pictures uint8 [B, H, W, 3] and soft labels [B, C] of at most `micro_batch` pairs."""
        device = next(self.decoder.parameters()).device
        count = len(appearance)
        pixels = draw_padded(
            self.decoder,
            self.codes,
            appearance,
            structure,
            micro_batch=self.micro_batch,
            device=device,
            precision=self.precision,
        )
        labels = self._labels(pixels)
        return pixels[:count].cpu().numpy(), None if labels is None else labels[:count].cpu().numpy()

    def _labels(self, pixels: Tensor) -> Tensor | None:
        return None if self.teacher is None else soft_labels(self.teacher, normalise(pixels))


def finished_batches(
    decoder: PairDecoder, appearance: Rows, structure: Rows, *, codec: str, quality: int, least: float
) -> Iterator[PictureBatch]:
    """The pairs, in order, as encoded pictures; those whose top probability is under `least` are left out.

    Encoding the pictures of one batch overlaps with decoding the next.
    """
    waiting: tuple[list[Future[bytes]], Rows, Rows, NDArray[np.float32] | None] | None = None
    with ThreadPoolExecutor(max_workers=2) as pool:
        for start in range(0, len(appearance), decoder.micro_batch):
            rows = slice(start, start + decoder.micro_batch)
            pairs = appearance[rows], structure[rows]
            pixels, labels = decoder.draw(*pairs)
            if least > 0 and labels is not None:
                kept = labels.max(axis=1) >= least
                pixels, labels, pairs = pixels[kept], labels[kept], (pairs[0][kept], pairs[1][kept])
            encoded = [pool.submit(encode, picture, codec=codec, quality=quality) for picture in pixels]
            if waiting is not None:
                yield _batch(*waiting)
            waiting = encoded, pairs[0], pairs[1], labels
        if waiting is not None:
            yield _batch(*waiting)


def _batch(
    encoded: list[Future[bytes]], appearance: Rows, structure: Rows, labels: NDArray[np.float32] | None
) -> PictureBatch:
    return PictureBatch([future.result() for future in encoded], appearance, structure, labels)
