"""Generated pictures from a store, batch by batch and without end, as a function of the iteration.

Where the store holds codes the feed is an online one: the pictures of a batch are drawn on the training device when
the batch is asked for, and a teacher that the store was opened with labels them there.
"""

from __future__ import annotations

from dataclasses import dataclass

from dgaug.chance import draws
from dgaug.errors import DgaugError
from dgaug.store.policies import POLICIES
from dgaug.store.read import StoreDataset
from dgaug.training.batches import LabelledPictures
from dgaug.training.reid import GeneratedBatch


@dataclass(frozen=True)
class StoreFeed:
    """Random rows of a store, on its device, with their targets under a label policy."""

    store: StoreDataset
    batch_size: int
    seed: int
    policy: str = "soft"

    def __call__(self, iteration: int) -> GeneratedBatch:
        """The batch of an iteration; the same for the same seed, whatever came before."""
        rows = draws("feed", self.seed, iteration).integers(len(self.store), size=self.batch_size)
        batch = self.store.batch(rows)
        if batch.labels is None:
            raise DgaugError(f"the store {self.store.path} has no labels; open it with a teacher")
        targets = POLICIES[self.policy](batch.labels, batch.appearance_identity, batch.structure_identity)
        return GeneratedBatch(batch.pixels, targets, batch.structure_identity)


def require_policy(name: str) -> None:
    """Refuse a label policy that does not exist.

    Raises:
        DgaugError: names those that do.
    """
    if name not in POLICIES:
        raise DgaugError(f"unknown label policy {name!r}; known are {', '.join(POLICIES)}")


def require_fitting(store: StoreDataset, pictures: LabelledPictures) -> None:
    """Refuse a store that these real pictures cannot be trained beside.

    Raises:
        DgaugError: other identities, another picture size, no labels, or no pictures.
    """
    if store.sources.class_name != pictures.class_names:
        raise DgaugError(
            f"the store {store.path} was made from {len(store.sources.class_name)} identities that are not the "
            f"{len(pictures.class_names)} of these data; synthesize one from them, or give the data it was made from"
        )
    if store.spec.image_size != pictures.image_size:
        theirs, ours = ("x".join(map(str, size)) for size in (store.spec.image_size, pictures.image_size))
        raise DgaugError(f"the store {store.path} holds pictures of {theirs}, the settings say {ours}; use its run")
    if not store.has_labels or len(store) == 0:
        what = "pictures" if len(store) == 0 else "labels"
        raise DgaugError(f"the store {store.path} has no {what}; synthesize one with a teacher")
