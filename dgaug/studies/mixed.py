"""Real and generated images as one PyTorch data set, with targets, for a training loop of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot
from torch.utils.data import Dataset

from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import normalise
from dgaug.data.prepare import read_data
from dgaug.data.records import IdentityData
from dgaug.errors import DgaugError
from dgaug.seeding import draws
from dgaug.store.merge_data import reading_of, run_of
from dgaug.store.policies import POLICIES, policy_classes
from dgaug.store.read import StoreDataset, open_store
from dgaug.studies.feeds import fit, needs_teacher, require_policy
from dgaug.surroundings import as_found
from dgaug.training.batches import LabelledImages

Transform = Callable[[Tensor], Tensor]
"""From an image uint8 [3, H, W], RGB, to what a network takes."""


class MixedItem(NamedTuple):
    """One image.

    Attributes:
        image: what the transform made of it; without one float32 [3, H, W], normalised as ImageNet's images are.
        target: float32 [C], a distribution over the classes.
        weight: how much it counts; 1 for a real image.
        appearance, structure: its donors as rows of the store's sources; of a real image both are itself.
        generated: whether it comes from the store.
    """

    image: Tensor
    target: Tensor
    weight: float
    appearance: int
    structure: int
    generated: bool


class MixedBatch(NamedTuple):
    """Items put together by `collate_mixed`.

    Attributes:
        image: [B, ...].
        target: float32 [B, C].
        weight: float32 [B].
        appearance, structure: int64 [B].
        generated: bool [B].
    """

    image: Tensor
    target: Tensor
    weight: Tensor
    appearance: Tensor
    structure: Tensor
    generated: Tensor

    @property
    def identity(self) -> Tensor:
        """The most probable class of each target, int64 [B]: for losses that take one label."""
        return self.target.argmax(dim=1)


def collate_mixed(items: Sequence[MixedItem]) -> MixedBatch:
    """Put items together: the `collate_fn` of a DataLoader."""
    columns = [list(column) for column in zip(*items, strict=True)]
    return MixedBatch(
        image=torch.stack(columns[0]),
        target=torch.stack(columns[1]),
        weight=torch.tensor(columns[2], dtype=torch.float32),
        appearance=torch.tensor(columns[3]),
        structure=torch.tensor(columns[4]),
        generated=torch.tensor(columns[5]),
    )


class MixedDataset(Dataset[MixedItem]):
    """All real training images, and beside them a choice of generated ones that `set_epoch` changes.

    Items 0 to N - 1 are the real images in the order of their paths, the others are generated. An item is a function of
    the seed, the epoch and its number, so any sampler may be used, and workers started in any way see the same: the
    epoch lies in memory that they share.

    Attributes:
        store: where the generated images come from.
        class_names: of the C classes.
        real, generated: how many images of each kind an epoch has.
    """

    def __init__(
        self,
        store: StoreDataset,
        data: IdentityData,
        *,
        labels: str,
        ratio: float,
        confidence: bool,
        transform: Transform | None,
        seed: int,
    ) -> None:
        require_policy(labels)
        if not 0 <= ratio < float("inf"):
            raise DgaugError(f"expected a ratio of 0 or more generated images for each real one, found {ratio}")
        images = LabelledImages.of(data, store.spec.image_size)
        self.store = store
        self.class_names = policy_classes(labels, images.class_names)
        self.real, self.generated = len(images.paths), round(ratio * len(images.paths))
        self._paths, self._levels, self._seed = images.paths, data.levels, seed
        self._identity = images.labels
        row = {path: place for place, path in enumerate(store.sources.path)}
        self._policy, self._confidence, self._transform = labels, confidence, transform
        self._fitting = fit(store, images, labels=needs_teacher(labels, confidence=confidence))
        self._source = [row[name] for name in images.names]
        self._epoch: Tensor = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._chosen: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return self.real + self.generated

    def set_epoch(self, epoch: int) -> None:
        """Choose other generated images; call it before each epoch, as of PyTorch's DistributedSampler."""
        self._epoch.fill_(epoch)

    def identities(self) -> Tensor:
        """A class for each item of this epoch, int64 [N + G], for samplers that fill batches by identity.

        A generated image has its appearance donor's, with the labels `structure` its structure donor's.
        """
        donor = int(self._policy == "structure")
        donors = np.array([self.store.donors(int(row))[donor] for row in self._rows()], np.int64)
        theirs = torch.from_numpy(self.store.sources.identity[donors].astype(np.int64))
        return torch.cat([self._identity, self._fitting.identity(theirs)])

    def __getitem__(self, k: int) -> MixedItem:
        """Item k; DamagedImage or DgaugError where it cannot be read."""
        return self.__getitems__([k])[0]

    def __getitems__(self, ks: Iterable[int]) -> list[MixedItem]:
        """Several items at once, as PyTorch's loader asks for them: a store of codes decodes them together."""
        places = [self._place(k) for k in ks]
        asked = [place - self.real for place in places if place >= self.real]
        made = iter(self._made(self._rows()[asked]) if asked else [])
        return [next(made) if place >= self.real else self._read(place) for place in places]

    def __getstate__(self) -> dict[str, Any]:
        """Without the choice of the epoch, which each process makes for itself."""
        return {**self.__dict__, "_chosen": None}

    def _place(self, k: int) -> int:
        place = k + len(self) if k < 0 else k
        if not 0 <= place < len(self):
            raise IndexError(f"item {k} of {len(self)}")
        return place

    def _rows(self) -> NDArray[np.int64]:
        """The rows of the store in this epoch, each once as long as there are enough."""
        epoch = int(self._epoch)
        if self._chosen is None or self._chosen[0] != epoch:
            rows = self._fitting.rows
            count = len(self.store) if rows is None else len(rows)
            chosen = draws("mixed", self._seed, epoch).choice(count, self.generated, replace=self.generated > count)
            self._chosen = epoch, np.asarray(chosen if rows is None else rows[chosen], np.int64)
        return self._chosen[1]

    def _read(self, place: int) -> MixedItem:
        pixels = to_pixels(open_image(self._paths[place], self._levels), self.store.spec.image_size)
        target = one_hot(self._identity[place], len(self.class_names)).float()
        source = self._source[place]
        return MixedItem(self._image(torch.from_numpy(pixels)), target, 1.0, source, source, False)

    def _made(self, rows: NDArray[np.int64]) -> list[MixedItem]:
        batch = self.store.batch(rows)
        appearance, structure = (
            self._fitting.identity(one) for one in (batch.appearance_identity, batch.structure_identity)
        )
        label = self._fitting.label(batch, len(self.store.sources.class_name))
        targets = POLICIES[self._policy](label, appearance, structure).float().cpu()
        weights = label.amax(dim=1).tolist() if self._confidence else [1.0] * len(rows)
        donors = [self.store.donors(int(row)) for row in rows]
        return [
            MixedItem(self._image(pixels), target, weight, *pair, True)
            for pixels, target, weight, pair in zip(batch.pixels.cpu(), targets, weights, donors, strict=True)
        ]

    def _image(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 [H, W, 3] as the loop wants them."""
        if self._transform is None:
            return normalise(pixels[None])[0]
        return self._transform(pixels.permute(2, 0, 1).contiguous())


@as_found
def mixed_dataset(
    store: str | Path | StoreDataset,
    real: str | Path | IdentityData,
    *,
    labels: str = "soft",
    ratio: float = 1.0,
    confidence: bool = False,
    transform: Transform | None = None,
    seed: int = 0,
    layout: str = "auto",
    pattern: str | None = None,
) -> MixedDataset:
    """Real and generated images as one data set, for a DataLoader with `collate_fn=dgaug.collate_mixed`.

    Args:
        store: a store, open or by its folder.
        real: the data set that it was made from, or a part of its training images.
        labels: the label policy of generated images.
        ratio: generated images for each real one.
        confidence: whether a generated image counts as much as its most probable class is probable; otherwise 1.
        transform: from uint8 [3, H, W] to what the network takes; it must be picklable for workers that are spawned.
        seed: of the choice of generated images.
        layout, pattern: how `real` is read; the settings of the store's run where they are not given.

    Raises:
        DgaugError: the store does not fit the images, or lacks the labels that the policy needs.
    """
    opened = store if isinstance(store, StoreDataset) else open_store(store)
    if not isinstance(real, IdentityData):
        real = read_data(Path(real), reading_of(run_of(opened.path), layout=layout, pattern=pattern))
    return MixedDataset(opened, real, labels=labels, ratio=ratio, confidence=confidence, transform=transform, seed=seed)
