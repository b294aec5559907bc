"""The engine `local`: the shards of a synthesis made here, by this process or by all that torchrun started."""

from __future__ import annotations

import time
from collections.abc import Callable

from dgaug.distributed import Processes
from dgaug.interrupts import StopRequest
from dgaug.progress import Progress
from dgaug.store.index import read_state
from dgaug.store.shard_writer import finished_shards
from dgaug.synthesis.tasks import Work, ensure_codes, make_shard

_LOOK_EVERY = 0.2
"""Seconds between two looks into the store for what other processes do."""


def make_here(work: Work, missing: list[int], *, processes: Processes, stop: StopRequest, progress: Progress) -> None:
    """Make the missing shards; each process takes its share, and the first one returns when all are there.

    Processes find each other's results in the store, not through collective calls: those give up after minutes, and a
    shard may take hours. What `progress` raises ends the call.
    """
    if processes.is_rank_zero:
        ensure_codes(work, missing, progress)
    _until(lambda: work.codes_are_there(missing), stop)
    for number in missing[processes.rank :: processes.world_size]:
        make_shard(work, number, _teller(work, progress))
    if missing and processes.is_rank_zero:
        _until(lambda: tell(work, progress) == work.spec.planned, stop)


def wait_until_finished(work: Work, stop: StopRequest) -> int:
    """Return when rank 0 has finished the store: the number of its images."""
    _until(lambda: not work.working.exists(), stop)
    state = read_state(work.store)
    return state.count if state else 0


def tell(work: Work, progress: Progress) -> int:
    """Tell how many pairs are in finished shards; returns their number."""
    done = _pairs_there(work)
    progress("synthesis", done, work.spec.planned)
    return done


def _teller(work: Work, progress: Progress) -> Callable[[int], None]:
    before = _pairs_there(work)
    return lambda done: progress("synthesis", before + done, work.spec.planned)


def _pairs_there(work: Work) -> int:
    return work.spec.pairs_in(finished_shards(work.store))


def _until(happened: Callable[[], bool], stop: StopRequest) -> None:
    while not happened():
        stop.leave()
        time.sleep(_LOOK_EVERY)
