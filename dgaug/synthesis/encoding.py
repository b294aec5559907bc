"""The codes of all source images, made once: what every pair is decoded from.

Codes are float16 on disk and are read back from there, so that an image is the same whether its codes were made
a minute or a kill ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.images import open_image, to_pixels
from dgaug.data.loading import in_order
from dgaug.data.normalisation import normalise
from dgaug.models.checkpoints import TrainedGenerator
from dgaug.store.codes import Half, write_codes
from dgaug.synthesis.threads import side_by_side, single_threads, usable_cores
from dgaug.transfer import Arriving, Downloads, upload

_READERS = usable_cores()


def make_codes(
    path: Path,
    sources: NDArray[np.int64],
    images: Sequence[Path],
    model: TrainedGenerator,
    *,
    micro_batch: int,
    threads: int = 1,
    on_batch: Callable[[int], None] | None = None,
) -> None:
    """Encode the images of some sources (rows of `images`) into one file; `on_batch(done)` hears how many are done.

    On a CPU `threads` micro-batches are read and encoded side by side; beside a GPU all cores read.

    Raises DgaugError where a code is not finite or an image unreadable, OSError where the disk is full.
    """
    batches = _encoded([images[row] for row in sources], model, micro_batch, threads)
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

    downloads = Downloads(device)

    def read(batch: Sequence[Path]) -> NDArray[np.uint8]:
        return np.stack([to_pixels(open_image(path), size) for path in batch])

    def begun(pixels: NDArray[np.uint8]) -> Arriving:
        count = len(pixels)
        padding = np.zeros((micro_batch - count, *size, 3), np.uint8)
        codes = encode_images(model, upload(np.concatenate([pixels, padding]), device))
        return downloads.start([code[:count].half() for code in codes])

    batches = [paths[start : start + micro_batch] for start in range(0, len(paths), micro_batch)]
    count = side_by_side(device, threads)
    with single_threads(count) as pool, ThreadPoolExecutor(_READERS) as readers:
        if device.type == "cpu":
            started = (pool.submit(lambda paths: begun(read(paths)), batch) for batch in batches)
        else:
            images = in_order((readers.submit(read, batch) for batch in batches), ahead=_READERS)
            started = (pool.submit(begun, pixels) for pixels in images)
        for arriving in in_order(started, ahead=count + 1):
            structure, adain = arriving.wait()
            yield structure, adain


@torch.no_grad()
def encode_images(model: TrainedGenerator, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Structure codes and AdaIN parameters of images uint8 [B, H, W, 3]."""
    images = normalise(pixels)
    return model.generator.structure(images), model.generator.adain(model.appearance(images).appearance)
