"""Generated pictures from a store, batch by batch, as a function of the iteration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from dgaug.chance import draws
from dgaug.errors import DgaugError
from dgaug.store.policies import POLICIES
from dgaug.store.read import StoreDataset
from dgaug.training.reid import GeneratedBatch


@dataclass(frozen=True)
class StoreFeed:
    """Random rows of a store with their targets under a label policy."""

    store: StoreDataset
    batch_size: int
    seed: int
    policy: str = "soft"

    def __post_init__(self) -> None:
        require_policy(self.store, self.policy)

    def __call__(self, iteration: int) -> GeneratedBatch:
        """The batch of an iteration; the same for the same seed, whatever came before."""
        rows = draws("feed", self.seed, iteration).integers(len(self.store), size=self.batch_size)
        items = [self.store[int(row)] for row in rows]
        label = torch.from_numpy(np.stack([self.store.dense_label(int(row)) for row in rows]))
        appearance = torch.tensor([item.appearance_identity for item in items])
        structure = torch.tensor([item.structure_identity for item in items])
        pixels = torch.from_numpy(np.stack([item.picture for item in items]))
        return GeneratedBatch(pixels, POLICIES[self.policy](label, appearance, structure), structure)


def require_same_identities(store: StoreDataset, class_names: list[str]) -> None:
    """Refuse a store that was made from other identities.

    Raises:
        DgaugError: their names or order differ.
    """
    if store.sources.class_name != class_names:
        raise DgaugError(
            f"the store {store.path} was made from {len(store.sources.class_name)} identities that are not the "
            f"{len(class_names)} of these data; synthesize a store from them, or give the data it was made from"
        )


def require_policy(store: StoreDataset, policy: str) -> None:
    """Refuse a label policy that is not known, or a store without the soft labels that every policy starts from.

    Raises:
        DgaugError: names the known policies, or the way to labels.
    """
    if policy not in POLICIES:
        raise DgaugError(f"unknown label policy {policy!r}; known are {', '.join(POLICIES)}")
    if store.spec.labels == "none":
        raise DgaugError(f"the store {store.path} has no soft labels to learn from; synthesize it with a teacher")
