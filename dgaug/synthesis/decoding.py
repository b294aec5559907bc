"""From pairs to finished pictures: decode, round, label, encode, in padded micro-batches of one size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.pixels import normalise
from dgaug.models.decoder import Decoder
from dgaug.models.reid import AnyReidNetwork, soft_labels
from dgaug.store.codecs import encode
from dgaug.store.codes import Codes, Rows
from dgaug.store.drawing import draw_padded
from dgaug.store.shards import PictureBatch
from dgaug.synthesis.threads import in_order, side_by_side, single_threads

_ENCODERS = max(2, min(8, os.cpu_count() or 1))
"""Threads that compress: pictures of one device may come faster than two can take them."""


@dataclass(frozen=True)
class PairDecoder:
    """Everything needed to turn pairs into pictures and labels, on one device.

    A picture depends on its pair alone: batches are padded to `micro_batch`, networks are in eval mode.
    """

    codes: Codes
    decoder: Decoder
    teacher: AnyReidNetwork | None
    micro_batch: int
    precision: str = "fp32"

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return next(self.decoder.parameters()).device

    @torch.no_grad()
    def draw(self, appearance: Rows, structure: Rows) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Pictures uint8 [B, H, W, 3] and soft labels [B, C] of at most `micro_batch` pairs."""
        count = len(appearance)
        pixels = draw_padded(
            self.decoder,
            self.codes,
            appearance,
            structure,
            micro_batch=self.micro_batch,
            device=self.device,
            precision=self.precision,
        )
        labels = self._labels(pixels)
        return pixels[:count].cpu().numpy(), None if labels is None else labels[:count].cpu().numpy()

    def _labels(self, pixels: Tensor) -> Tensor | None:
        if self.teacher is None:
            return None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-labels"):
            return soft_labels(self.teacher, normalise(pixels))


def finished_batches(
    decoder: PairDecoder,
    appearance: Rows,
    structure: Rows,
    *,
    codec: str,
    quality: int,
    least: float,
    threads: int = 1,
) -> Iterator[PictureBatch]:
    """The pairs, in order, as encoded pictures; those whose top probability is under `least` are left out.

    On a CPU `threads` micro-batches are decoded side by side. Encoding the pictures of one batch overlaps with
    decoding the next, and with what the caller does.
    """

    def drawn(rows: slice) -> _Drawn:
        pixels, labels = decoder.draw(appearance[rows], structure[rows])
        return _Drawn(pixels, appearance[rows], structure[rows], labels)

    count = side_by_side(decoder.device, threads)
    batches = [slice(start, start + decoder.micro_batch) for start in range(0, len(appearance), decoder.micro_batch)]
    waiting: tuple[list[Future[bytes]], _Drawn] | None = None
    with single_threads(count) as draws, ThreadPoolExecutor(_ENCODERS) as encoders:
        for batch in in_order(draws, drawn, batches, ahead=count + 1):
            kept = batch.sure(least)
            encoded = [encoders.submit(encode, picture, codec=codec, quality=quality) for picture in kept.pixels]
            if waiting is not None:
                yield _batch(*waiting)
            waiting = encoded, kept
        if waiting is not None:
            yield _batch(*waiting)


class _Drawn(NamedTuple):
    """Pixels, pairs and labels of a micro-batch."""

    pixels: NDArray[np.uint8]
    appearance: Rows
    structure: Rows
    labels: NDArray[np.float32] | None

    def sure(self, least: float) -> _Drawn:
        """Those whose top probability is `least` or more."""
        if least <= 0 or self.labels is None:
            return self
        kept = self.labels.max(axis=1) >= least
        return _Drawn(self.pixels[kept], self.appearance[kept], self.structure[kept], self.labels[kept])


def _batch(encoded: list[Future[bytes]], drawn: _Drawn) -> PictureBatch:
    return PictureBatch([future.result() for future in encoded], drawn.appearance, drawn.structure, drawn.labels)
