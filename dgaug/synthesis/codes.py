"""The codes of all source pictures, made once: what every pair is decoded from.

Codes are float16 on disk and are read back from there, so that a picture is the same whether its codes were made
a minute or a kill ago.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import normalise
from dgaug.models.checkpoints import TrainedGenerator
from dgaug.progress import Progress
from dgaug.store.codes import CODE_ROWS, Codes, Half, holds_codes, open_codes, write_codes
from dgaug.store.schema import code_path


def make_codes(
    folder: Path,
    paths: Sequence[Path],
    model: TrainedGenerator,
    *,
    sources: NDArray[np.int64] | None = None,
    micro_batch: int,
    progress: Progress,
) -> Codes:
    """Encode the pictures of `sources` (rows; None: all) into `folder`; files that an earlier start left there stay.

    Raises DgaugError where a code is not finite.
    """
    sources = np.arange(len(paths)) if sources is None else sources
    files = []
    for number, start in enumerate(range(0, len(sources), CODE_ROWS)):
        rows, file = sources[start : start + CODE_ROWS], code_path(folder, number)
        if not holds_codes(file, rows, generator_sha256=model.sha256):
            batches = _encoded([paths[row] for row in rows], model, micro_batch)
            heard = _heard(batches, start, len(sources), progress)
            write_codes(file, rows, heard, generator_sha256=model.sha256)
        files.append(file)
    for file in set(folder.glob("*.h5")) - set(files):
        file.unlink()
    return open_codes(files)


def _heard(
    batches: Iterator[tuple[Half, Half]], done: int, total: int, progress: Progress
) -> Iterator[tuple[Half, Half]]:
    for batch in batches:
        yield batch
        done += len(batch[0])
        progress("encoding", done, total)


def _encoded(paths: Sequence[Path], model: TrainedGenerator, micro_batch: int) -> Iterator[tuple[Half, Half]]:
    size = model.settings.data.image_size
    device = next(model.generator.parameters()).device
    for start in range(0, len(paths), micro_batch):
        batch = paths[start : start + micro_batch]
        pixels = np.zeros((micro_batch, *size, 3), np.uint8)
        for row, path in enumerate(batch):
            pixels[row] = to_pixels(open_picture(path), size)
        structure, adain = encode_pictures(model, torch.from_numpy(pixels).to(device))
        yield structure[: len(batch)].half().cpu().numpy(), adain[: len(batch)].half().cpu().numpy()


@torch.no_grad()
def encode_pictures(model: TrainedGenerator, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Structure codes and AdaIN parameters of pictures uint8 [B, H, W, 3]."""
    pictures = normalise(pixels)
    return model.generator.structure(pictures), model.generator.adain(model.appearance(pictures).appearance)
