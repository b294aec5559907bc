"""From pairs to finished images: decode, round, label, encode, in padded micro-batches of one size."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.loading import in_order
from dgaug.data.normalisation import normalise
from dgaug.models.decoder import Decoder
from dgaug.models.half_weights import with_half_weights
from dgaug.models.reid import AnyReidNetwork, soft_labels
from dgaug.store.codecs import encode
from dgaug.store.codes import Codes, Rows
from dgaug.store.resident_codes import ResidentCodes, codes_on
from dgaug.store.shard_writer import ImageBatch
from dgaug.store.virtual import generate_padded
from dgaug.synthesis.threads import side_by_side, single_threads, usable_cores
from dgaug.transfer import Arriving, Downloads

_ENCODERS = min(8, usable_cores())
"""Threads that compress: a GPU makes images faster than a few can take them, and more than 8 wait for each other."""


@dataclass(frozen=True)
class PairDecoder:
    """Everything needed to turn pairs into images and labels, on one device.

    An image depends on its pair alone: batches are padded to `micro_batch`, networks are in eval mode. What is needed
    on the device is put there once, when the first pair is drawn.
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

    @cached_property
    def ready(self) -> _Ready:
        """Codes and networks as drawing takes them."""
        half, labels = self.precision != "fp32", self.precision == "bf16-labels"
        return _Ready(
            codes_on(self.codes, self.device),
            with_half_weights(self.decoder) if half else self.decoder,
            with_half_weights(self.teacher) if labels and self.teacher is not None else self.teacher,
            Downloads(self.device),
        )

    def generate(self, appearance: Rows, structure: Rows) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """Images uint8 [B, H, W, 3] and soft labels [B, C] of at most `micro_batch` pairs."""
        pixels, *labels = self.begin(appearance, structure).wait()
        return pixels, labels[0] if labels else None

    @torch.no_grad()
    def begin(self, appearance: Rows, structure: Rows) -> Arriving:
        """The same without waiting for a GPU: pixels, and labels where there is a teacher, on their way."""
        count, ready = len(appearance), self.ready
        pixels = generate_padded(
            ready.decoder,
            ready.codes,
            appearance,
            structure,
            micro_batch=self.micro_batch,
            device=self.device,
            precision=self.precision,
        )
        if ready.teacher is None:
            return ready.downloads.start([pixels[:count]])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-labels"):
            labels = soft_labels(ready.teacher, normalise(pixels))
        return ready.downloads.start([pixels[:count], labels[:count]])


class _Ready(NamedTuple):
    """What a decoder draws with, on its device, and the way of its results to the host."""

    codes: Codes | ResidentCodes
    decoder: Decoder
    teacher: AnyReidNetwork | None
    downloads: Downloads


def finished_batches(
    decoder: PairDecoder,
    appearance: Rows,
    structure: Rows,
    *,
    codec: str,
    quality: int,
    least: float,
    threads: int = 1,
) -> Iterator[ImageBatch]:
    """The pairs, in order, as encoded images; those whose top probability is under `least` are left out.

    On a CPU `threads` micro-batches are decoded side by side; a GPU has the next two queued when one is done. Encoding
    the images of one batch overlaps with decoding the next, and with what the caller does.
    """
    decoder.ready  # noqa: B018  made here, once for all threads

    def begun(rows: slice) -> tuple[slice, Arriving]:
        return rows, decoder.begin(appearance[rows], structure[rows])

    count = side_by_side(decoder.device, threads)
    batches = [slice(start, start + decoder.micro_batch) for start in range(0, len(appearance), decoder.micro_batch)]
    waiting: tuple[list[Future[list[bytes]]], _Generated] | None = None
    with single_threads(count) as draws, ThreadPoolExecutor(_ENCODERS) as encoders:
        for rows, arriving in in_order((draws.submit(begun, rows) for rows in batches), ahead=count + 1):
            pixels, *labels = arriving.wait()
            kept = _Generated(pixels, appearance[rows], structure[rows], labels[0] if labels else None).sure(least)
            encoded = [encoders.submit(_encoded, part, codec, quality) for part in _shares(kept.pixels)]
            if waiting is not None:
                yield _batch(*waiting)
            waiting = encoded, kept
        if waiting is not None:
            yield _batch(*waiting)


class _Generated(NamedTuple):
    """Pixels, pairs and labels of a micro-batch."""

    pixels: NDArray[np.uint8]
    appearance: Rows
    structure: Rows
    labels: NDArray[np.float32] | None

    def sure(self, least: float) -> _Generated:
        """Those whose top probability is `least` or more."""
        if least <= 0 or self.labels is None:
            return self
        kept = self.labels.max(axis=1) >= least
        return _Generated(self.pixels[kept], self.appearance[kept], self.structure[kept], self.labels[kept])


def _shares(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """As many as there are encoders: a task for each image would cost a tenth of its compression."""
    return np.array_split(pixels, min(_ENCODERS, len(pixels))) if len(pixels) else []


def _encoded(pixels: NDArray[np.uint8], codec: str, quality: int) -> list[bytes]:
    return [encode(image, codec=codec, quality=quality) for image in pixels]


def _batch(encoded: list[Future[list[bytes]]], drawn: _Generated) -> ImageBatch:
    images = [image for future in encoded for image in future.result()]
    return ImageBatch(images, drawn.appearance, drawn.structure, drawn.labels)
