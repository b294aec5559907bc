"""Which images a batch holds: an order that is a function of the iteration, shared by processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler

from dgaug.errors import DgaugError
from dgaug.seeding import Key, draws, key
from dgaug.settings import ReidSettings, ScheduleSettings

SMALLEST_BATCH = 2
"""Batch norm needs two images."""

Rows = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Order = Callable[[np.random.Generator], Rows]
"""An epoch's order of rows; every epoch has the same length."""


def shuffled(rows: int) -> Order:
    """Each row once."""
    return lambda rng: rng.permutation(rows)


def balanced(labels: Tensor, per_identity: int) -> Order:
    """Identities equally often, `per_identity` images of one after the other (P x K batches, Hermans et al., 2017).

    The images of an identity come in shuffled turns; one with fewer images shows them again.
    """
    classes = labels.numpy()
    rows_of = [np.flatnonzero(classes == label) for label in np.unique(classes)]

    def order(rng: np.random.Generator) -> Rows:
        groups = -(-len(classes) // per_identity)
        laps = -(-groups // len(rows_of))
        turns = np.arange(laps * per_identity).reshape(laps, per_identity)
        shown = [rng.permutation(rows)[turns % len(rows)] for rows in rows_of]
        lapped = [shown[identity][lap] for lap in range(laps) for identity in rng.permutation(len(rows_of))]
        return np.concatenate(lapped[:groups])[: len(classes)]

    return order


def order_of(settings: ReidSettings | ScheduleSettings, labels: Tensor) -> Order:
    """The order that the setting `sampler` names."""
    return balanced(labels, settings.per_identity) if settings.sampler == "balanced" else shuffled(len(labels))


@dataclass(frozen=True)
class Share:
    """The part of every batch that one process works on, in `turns` micro-batches (gradient accumulation)."""

    rank: int = 0
    world_size: int = 1
    turns: int = 1

    def rows(self, batch_size: int, turn: int) -> range:
        """Places in a batch of `batch_size`.

        Raises:
            DgaugError: the batch cannot be cut into that many parts of at least two images.
        """
        parts = self.world_size * self.turns
        size = batch_size // parts
        if batch_size % parts or size < SMALLEST_BATCH:
            raise DgaugError(
                f"a batch of {batch_size} cannot be shared by {self.world_size} processes in {self.turns} "
                f"micro-batches of at least {SMALLEST_BATCH} images each; "
                "change batch_size, accumulation or the number of processes"
            )
        first = (self.rank * self.turns + turn) * size
        return range(first, first + size)


WHOLE = Share()


def require_identities(settings: ReidSettings | ScheduleSettings, section: str, share: Share = WHOLE) -> None:
    """Refuse batches that can show one identity only; `section` names the settings, `share` the part of a process.

    Raises:
        DgaugError: the balanced sampler fills a batch, or a micro-batch, with one identity.
    """
    size = len(share.rows(settings.batch_size, 0))
    if settings.sampler == "balanced" and settings.per_identity >= size:
        part = "a batch" if size == settings.batch_size else "a micro-batch"
        least = 2 * settings.per_identity * (settings.batch_size // size)
        raise DgaugError(
            f"{part} of {size} with {settings.per_identity} images of each identity shows one identity, and nothing "
            f"tells identities apart in it; take --set {section}.batch_size={least} or a smaller --set "
            f"{section}.per_identity=..."
        )


class SampledRow(NamedTuple):
    """Which image comes next, and the key of everything random about it."""

    row: int
    key: Key


class OrderedBatches(Sampler[list[SampledRow]]):
    """Endless batches in epochs: each epoch an order of its own, the remainder dropped.

    The batch of an iteration depends on (phase, seed, stream, iteration) alone, so a run resumes anywhere, with any
    number of processes. With several turns an iteration gives as many micro-batches, one after the other.
    """

    def __init__(
        self,
        order: Order,
        batch_size: int,
        *,
        phase: str,
        seed: int,
        streams: int = 1,
        start: int = 0,
        share: Share = WHOLE,
    ) -> None:
        self.order = order
        self.batch_size = batch_size
        self.phase = phase
        self.seed = seed
        self.streams = streams
        self.start = start
        self.share = share
        self.places = [share.rows(batch_size, turn) for turn in range(share.turns)]

    def whole(self, iteration: int) -> list[SampledRow]:
        """The batch of an iteration over all shares."""
        batches = OrderedBatches(
            self.order, self.batch_size, phase=self.phase, seed=self.seed, streams=self.streams, start=iteration
        )
        return next(iter(batches))

    def __iter__(self) -> Iterator[list[SampledRow]]:
        iteration = self.start
        orders = self._orders(0)
        rows, epoch = len(orders[0]), 0
        length = rows // self.batch_size * self.batch_size or rows
        while True:
            for places in self.places:
                batch = []
                for stream in range(self.streams):
                    for place in places:
                        position = iteration * self.batch_size + place
                        if position // length != epoch:
                            epoch = position // length
                            orders = self._orders(epoch)
                        augment = key(f"{self.phase}: augment", self.seed, stream, position)
                        batch.append(SampledRow(int(orders[stream][position % length]), augment))
                yield batch
            iteration += 1

    def _orders(self, epoch: int) -> list[Rows]:
        purpose = f"{self.phase}: order"
        return [self.order(draws(purpose, self.seed, stream, epoch)) for stream in range(self.streams)]
