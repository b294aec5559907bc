"""The codes of all source pictures, made once: what every pair is decoded from.

Codes are float16 on disk and are read back from there, so that a picture is the same whether its codes were made
a minute or a kill ago.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import normalise
from dgaug.files import whole
from dgaug.models.checkpoints import TrainedGenerator
from dgaug.progress import Progress

Half = NDArray[np.float16]


@dataclass(frozen=True)
class Codes:
    """Structure codes [R, C, h, w] and AdaIN parameters [R, 4, 2, 2, C] of R sources, memory-mapped.

    `sources` int64 [R], ascending, are the rows of the source table they belong to.
    """

    sources: NDArray[np.int64]
    structure: Half
    adain: Half

    def rows(self, appearance: NDArray[np.int32], structure: NDArray[np.int32]) -> tuple[Tensor, Tensor]:
        """Structure codes and AdaIN parameters of pairs, float32 on CPU."""
        places = np.searchsorted(self.sources, structure), np.searchsorted(self.sources, appearance)
        chosen = self.structure[places[0]].astype(np.float32), self.adain[places[1]].astype(np.float32)
        return torch.from_numpy(chosen[0]), torch.from_numpy(chosen[1])


def make_codes(
    folder: Path,
    paths: Sequence[Path],
    model: TrainedGenerator,
    *,
    sources: NDArray[np.int64] | None = None,
    micro_batch: int,
    progress: Progress,
) -> Codes:
    """Encode the pictures of `sources` (rows; None: all) into `folder`, or take what an earlier start left there."""
    sources = np.arange(len(paths)) if sources is None else sources
    files = [folder / "structure.npy", folder / "adain.npy"]
    if not all(file.is_file() for file in files):
        _encode(files, [paths[row] for row in sources], model, micro_batch=micro_batch, progress=progress)
    return Codes(sources, *(np.load(file, mmap_mode="r") for file in files))


def drop_codes(folder: Path) -> None:
    """Remove the working files; the pictures are made."""
    shutil.rmtree(folder, ignore_errors=True)


def _encode(
    files: list[Path], paths: Sequence[Path], model: TrainedGenerator, *, micro_batch: int, progress: Progress
) -> None:
    height, width = size = model.settings.data.image_size
    channels = model.generator.structure_encoder.channels
    shapes = [(len(paths), channels, height // 4, width // 4), (len(paths), 4, 2, 2, channels)]
    device = next(model.generator.parameters()).device
    with whole(files[0]) as first, whole(files[1]) as second:
        structure, adain = (
            np.lib.format.open_memmap(file, "w+", np.float16, shape)
            for file, shape in zip((first, second), shapes, strict=True)
        )
        for start in range(0, len(paths), micro_batch):
            batch = paths[start : start + micro_batch]
            pixels = np.zeros((micro_batch, *size, 3), np.uint8)
            for row, path in enumerate(batch):
                pixels[row] = to_pixels(open_picture(path), size)
            codes = encode_pictures(model, torch.from_numpy(pixels).to(device))
            rows = slice(start, start + len(batch))
            structure[rows], adain[rows] = (code[: len(batch)].cpu().numpy().astype(np.float16) for code in codes)
            progress("encoding", start + len(batch), len(paths))
        structure.flush()
        adain.flush()


@torch.no_grad()
def encode_pictures(model: TrainedGenerator, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Structure codes and AdaIN parameters of pictures uint8 [B, H, W, 3]."""
    pictures = normalise(pixels)
    return model.generator.structure(pictures), model.generator.adain(model.appearance(pictures).appearance)
