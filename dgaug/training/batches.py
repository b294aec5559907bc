"""From records to batches: pictures, augmentation, positives."""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import normalise
from dgaug.data.records import IdentityData, class_names
from dgaug.training.sampling import Draw, OrderedBatches

CACHE_LIMIT = 1 << 29
"""Bytes of resized pictures that a process keeps; a larger data set is read from disk each time."""

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True)
class LabelledPictures:
    """Training pictures and their class indices; `names` are their paths relative to the data's root."""

    paths: list[Path]
    labels: Tensor
    class_names: list[str]
    image_size: tuple[int, int]
    names: list[str]

    @classmethod
    def of(cls, data: IdentityData, image_size: tuple[int, int]) -> LabelledPictures:
        """The training split of a data set."""
        records = data.splits["train"]
        names = class_names(records)
        index = {name: position for position, name in enumerate(names)}
        labels = torch.tensor([index[record.identity] for record in records])
        paths = [data.picture_path(record) for record in records]
        return cls(paths, labels, names, image_size, [record.path for record in records])


class TrainingPictures(Dataset[tuple[Pixels, int]]):
    """Items ([V, H, W, 3], label): one picture, or two of the same identity, augmented apart from each other."""

    def __init__(self, pictures: LabelledPictures, *, pad: int, positives: bool) -> None:
        self.pictures = pictures
        self.pad = pad
        self.positives = positives
        labels = pictures.labels.numpy()
        self._rows_of = [np.flatnonzero(labels == label) for label in range(len(pictures.class_names))]
        height, width = pictures.image_size
        self._cache: dict[int, Pixels] | None = {} if len(labels) * height * width * 3 <= CACHE_LIMIT else None

    def __len__(self) -> int:
        return len(self.pictures.paths)

    def __getitem__(self, draw: Draw) -> tuple[Pixels, int]:
        rng = np.random.default_rng(draw.key)
        rows = self._rows(draw.row, rng)
        return np.stack([self._augmented(row, rng) for row in rows]), int(self.pictures.labels[draw.row])

    def rows(self, draw: Draw) -> list[int]:
        """The images of an item."""
        return self._rows(draw.row, np.random.default_rng(draw.key))

    def contrast(self, row: int) -> float:
        """Standard deviation of an image's grey levels."""
        return float(self._pixels(row).std())

    def _rows(self, row: int, rng: np.random.Generator) -> list[int]:
        return [row, self._positive(row, rng)] if self.positives else [row]

    def _positive(self, row: int, rng: np.random.Generator) -> int:
        rows = self._rows_of[int(self.pictures.labels[row])]
        if len(rows) == 1:
            return row
        position = int(rng.integers(len(rows) - 1))
        return int(rows[position] if rows[position] < row else rows[position + 1])

    def _pixels(self, row: int) -> Pixels:
        if self._cache is not None and row in self._cache:
            return self._cache[row]
        pixels = to_pixels(open_picture(self.pictures.paths[row]), self.pictures.image_size)
        if self._cache is not None:
            self._cache[row] = pixels
        return pixels

    def _augmented(self, row: int, rng: np.random.Generator) -> Pixels:
        pixels = self._pixels(row)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        pad = self.pad
        top, left = rng.integers(2 * pad + 1, size=2)
        height, width = self.pictures.image_size
        padded = np.pad(pixels, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        return np.ascontiguousarray(padded[top : top + height, left : left + width])


def endless_batches(
    dataset: TrainingPictures, workers: int | None, sampler: OrderedBatches, device: torch.device
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Views [V, B, 3, H, W], normalised, and labels [B], in the sampler's order, on `device`.

    Close it when it is no longer needed: that ends the workers.
    """
    if workers is None:
        workers = 0 if device.type == "cpu" else min(8, os.cpu_count() or 1)
    loader = DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,
    )
    for views, labels in loader:
        pixels = views.to(device, non_blocking=True).transpose(0, 1)
        yield torch.stack([normalise(view) for view in pixels]), labels.to(device, non_blocking=True)
