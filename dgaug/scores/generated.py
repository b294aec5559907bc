"""Generated pictures to score: from a store, with their donors, or from a plain folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgaug.chance import draws
from dgaug.data.images import open_picture, to_pixels
from dgaug.data.listing import list_pictures
from dgaug.errors import DgaugError
from dgaug.store.read import StoreDataset, open_store

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """Generated pictures uint8 [M, H, W, 3]; where they come from a store, the rows of their donors [M]."""

    pixels: NDArray[np.uint8]
    appearance: Rows | None = None
    structure: Rows | None = None


@dataclass(frozen=True)
class GeneratedPictures:
    """A store or a folder, from which samples are drawn."""

    store: StoreDataset | None
    files: list[Path]
    image_size: tuple[int, int]

    @classmethod
    def open(cls, path: Path, image_size: tuple[int, int] | None) -> GeneratedPictures:
        """A finished store, or any folder of pictures (searched through); `image_size` is needed for the folder.

        Raises:
            DgaugError: neither.
        """
        if (path / "dataset.h5").is_file() or path.name == "dataset.h5":
            store = open_store(path)
            if len(store) == 0:
                raise DgaugError(f"the store {path} holds no picture: --min-confidence left all of them out")
            return cls(store, [], store.spec.image_size)
        if not path.is_dir():
            raise DgaugError(f"{path} is neither a store nor a folder of pictures; run dgaug synthesize first")
        files = sorted(path / name for name in list_pictures(path))
        if not files:
            raise DgaugError(f"no picture found in {path} or below it")
        return cls(None, files, image_size or _size(files[0]))

    def __len__(self) -> int:
        return len(self.files) if self.store is None else len(self.store)

    def at(self, rows: Rows) -> Sample:
        """The pictures at these rows."""
        if self.store is None:
            return Sample(np.stack([to_pixels(open_picture(self.files[row]), self.image_size) for row in rows]))
        items = self.store.__getitems__([int(row) for row in rows])
        return Sample(
            np.stack([item.picture for item in items]),
            np.array([item.appearance for item in items]),
            np.array([item.structure for item in items]),
        )

    def one_per_appearance(self, seed: int) -> Rows:
        """One row for each appearance donor, its structure drawn by the seed: the published design."""
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
        if self.store is None:
            raise DgaugError("a folder of pictures has no recorded donors; score a store")
        return self.store.pairs()


def _size(path: Path) -> tuple[int, int]:
    """[H, W] of a picture file."""
    picture = open_picture(path)
    return picture.height, picture.width
