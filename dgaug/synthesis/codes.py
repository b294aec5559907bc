"""The codes of all source pictures, made once: what every pair is decoded from.

Codes are float16 on disk and are read back from there, so that a picture is the same whether its codes were made
a minute or a kill ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import normalise
from dgaug.models.checkpoints import TrainedGenerator
from dgaug.store.codes import Half, write_codes
from dgaug.synthesis.threads import in_order, side_by_side, single_threads


def make_codes(
    path: Path,
    sources: NDArray[np.int64],
    pictures: Sequence[Path],
    model: TrainedGenerator,
    *,
    micro_batch: int,
    threads: int = 1,
    on_batch: Callable[[int], None] | None = None,
) -> None:
    """Encode the pictures of some sources (rows of `pictures`) into one file; `on_batch(done)` hears how many are done.

    On a CPU `threads` micro-batches are encoded side by side.

    Raises DgaugError where a code is not finite or a picture unreadable, OSError where the disk is full.
    """
    batches = _encoded([pictures[row] for row in sources], model, micro_batch, threads)
    write_codes(path, sources, _heard(batches, on_batch), generator_sha256=model.sha256)


def _heard(batches: Iterator[tuple[Half, Half]], on_batch: Callable[[int], None] | None) -> Iterator[tuple[Half, Half]]:
    done = 0
    for batch in batches:
        yield batch
        done += len(batch[0])
        if on_batch is not None:
            on_batch(done)


def _encoded(
    paths: Sequence[Path], model: TrainedGenerator, micro_batch: int, threads: int
) -> Iterator[tuple[Half, Half]]:
    size = model.settings.data.image_size
    device = next(model.generator.parameters()).device

    def encoded(batch: Sequence[Path]) -> tuple[Half, Half]:
        pixels = np.zeros((micro_batch, *size, 3), np.uint8)
        for row, path in enumerate(batch):
            pixels[row] = to_pixels(open_picture(path), size)
        structure, adain = encode_pictures(model, torch.from_numpy(pixels).to(device))
        return structure[: len(batch)].half().cpu().numpy(), adain[: len(batch)].half().cpu().numpy()

    count = side_by_side(device, threads)
    batches = [paths[start : start + micro_batch] for start in range(0, len(paths), micro_batch)]
    with single_threads(count) as pool:
        yield from in_order(pool, encoded, batches, ahead=count + 1)


@torch.no_grad()
def encode_pictures(model: TrainedGenerator, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Structure codes and AdaIN parameters of pictures uint8 [B, H, W, 3]."""
    pictures = normalise(pixels)
    return model.generator.structure(pictures), model.generator.adain(model.appearance(pictures).appearance)
