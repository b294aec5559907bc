"""Images to score or to compare with: those of a store, with their donors, or files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dgaug.data.images import open_image, read_image_bytes, to_pixels
from dgaug.data.listing import list_images
from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.seeding import draws
from dgaug.store.read import StoreDataset, open_store
from dgaug.store.safe_hdf5 import is_store
from dgaug.store.schema import DATASET_FILE
from dgaug.store.sources import Sources

Pixels = NDArray[np.uint8]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Generated images uint8 [M, H, W, 3]; where they come from a store, the rows of their donors [M]."""

    pixels: Pixels
    appearance: Rows | None = None
    structure: Rows | None = None


@dataclass(frozen=True)
class ImageSet:
    """A store, or files.

    Attributes:
        kind: `store`, `folder`, `manifest` or the layout of a data set.
        root: where it lies.
        files: the images' paths; none for a store.
        store: the store; None for files.
    """

    kind: str
    root: Path
    files: list[Path]
    store: StoreDataset | None = None

    @classmethod
    def open(cls, path: Path) -> ImageSet:
        """A finished store, or any folder of images (searched through).

        Raises:
            DgaugError: neither.
        """
        if is_store(path):
            store = open_store(path)
            if len(store) == 0:
                raise DgaugError(f"the store {path} holds no image: --min-confidence left all of them out")
            return cls("store", store.path, [], store)
        if not path.is_dir():
            raise DgaugError(f"{path} is neither a store nor a folder of images; run dgaug synthesize first")
        files = [path / name for name in list_images(path)]
        if not files:
            raise DgaugError(f"no image found in {path} or below it")
        return cls("folder", path, files)

    def __len__(self) -> int:
        return len(self.files) if self.store is None else len(self.store)

    def at(self, rows: Rows) -> Sample:
        """The images at these rows, which must be of one size."""
        if self.store is None:
            return Sample(np.stack(self.images(rows)))
        items = self.store.__getitems__([int(row) for row in rows])
        return Sample(
            np.stack([item.image for item in items]),
            np.array([item.appearance for item in items]),
            np.array([item.structure for item in items]),
        )

    def images(self, rows: Rows) -> list[Pixels]:
        """The images at these rows, uint8 [H, W, 3] each, of the size that they have.

        Raises:
            DgaugError: one of them is damaged.
        """
        if self.store is None:
            return [np.asarray(open_image(self.files[row])) for row in rows]
        return [item.image for item in self.store.__getitems__([int(row) for row in rows])]

    def digest(self, rows: Rows) -> str:
        """Hex sha256 of the contents at these rows in their order; names and dates are no part of it.

        A store's is that of its `dataset.h5`, which holds the hash of every file, with the rows.
        """
        digest = hashlib.sha256()
        if self.store is not None:
            digest.update(file_sha256(self.store.path / DATASET_FILE).encode() + rows.astype("<i8").tobytes())
            return digest.hexdigest()
        for row in rows:
            digest.update(hashlib.sha256(read_image_bytes(self.files[row])).digest())
        return digest.hexdigest()

    def one_size(self) -> tuple[int, int]:
        """(H, W) of every image.

        Raises:
            DgaugError: there are two sizes; names an image of each.
        """
        if self.store is not None:
            return self.store.spec.image_size
        first = None
        for path in self.files:
            image = open_image(path)
            size = image.height, image.width
            if first is None:
                first = size
            if size != first:
                raise DgaugError(
                    f"{self.root}: generated images must be of one size, found {first[0]} x {first[1]} (height x "
                    f"width) in {self.files[0].name} and {size[0]} x {size[1]} in {path.name}; score each size by "
                    "itself, or resize them to one"
                )
        if first is None:
            raise DgaugError(f"no image found in {self.root}")
        return first

    def one_per_appearance(self, seed: int) -> Rows:
        """One row for each appearance donor, its structure drawn by the seed; every row of files."""
        if self.store is None:
            return np.arange(len(self.files))
        pairs = self.pairs()
        order = draws("one per appearance", seed).permutation(len(self))
        _, first = np.unique(pairs[order, 0], return_index=True)
        return np.sort(order[first])

    def choice(self, count: int, seed: int, *, among: Rows | None = None) -> Rows:
        """At most `count` rows, drawn without repetition by the seed, in order."""
        rows = np.arange(len(self)) if among is None else among
        return np.sort(draws("sample", seed).choice(rows, size=min(count, len(rows)), replace=False))

    def pairs(self) -> Rows:
        """Donors of every row of a store: appearance and structure [M, 2]."""
        return self._pairs

    @cached_property
    def _pairs(self) -> Rows:
        if self.store is None:
            raise DgaugError("a folder of images has no recorded donors; score a store")
        return self.store.pairs()


def resized(images: list[Pixels], size: tuple[int, int]) -> list[Pixels]:
    """Images at (H, W), bicubic as Pillow does it; those that have it stay as they are."""
    return [image if image.shape[:2] == size else to_pixels(Image.fromarray(image), size) for image in images]


def donor_images(sources: Sources, rows: NDArray[np.int64], root: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Donors' images uint8 [M, H, W, 3], resized as the networks see them."""
    return np.stack([to_pixels(open_image(root / sources.path[row]), size) for row in rows])
