"""Who makes the shards of a synthesis.

`local`: this process, or all that torchrun started; `ray`: tasks of a Ray cluster, an existing one or one of our own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dgaug.distributed import Processes
from dgaug.interrupts import StopRequest
from dgaug.progress import Progress
from dgaug.ray_cluster import RETRIES, finish, import_ray, joined, resources
from dgaug.store.index import read_state
from dgaug.store.shard_writer import finished_shards
from dgaug.synthesis.tasks import Work, ensure_codes, forget_networks, make_shard

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
        _until(lambda: _tell(work, progress) == work.spec.planned, stop)


def wait_until_finished(work: Work, stop: StopRequest) -> int:
    """Return when rank 0 has finished the store: the number of its images."""
    _until(lambda: not work.working.exists(), stop)
    state = read_state(work.store)
    return state.count if state else 0


def make_on_ray(work: Work, missing: list[int], *, address: str | None, stop: StopRequest, progress: Progress) -> None:
    """Make the missing shards as tasks, a task again when its worker dies; a finished shard stays whatever happens.

    `address` is a running cluster (None: that of RAY_ADDRESS, or one on this machine that is stopped afterwards).

    Raises:
        DgaugError: no Ray, no such cluster, no machine with enough cores in it, or a task that fails again and again.
    """
    if not missing and work.codes_are_there(missing):
        return
    ray = import_ray()
    forget_networks()  # their memory is for the workers
    with joined(ray, address):
        asked = resources(ray, work.threads)
        shared = ray.put(work)
        encode, make = (
            ray.remote(max_retries=RETRIES, scheduling_strategy="SPREAD", **asked)(function)
            for function in (ensure_codes, make_shard)
        )
        sources = sum(map(len, work.code_files(missing).values()))
        progress("encoding", 0, sources)
        finish(ray, [encode.remote(shared, missing)], stop, on_look=stop.leave)
        progress("encoding", sources, sources)
        _tell(work, progress)
        finish(ray, [make.remote(shared, number) for number in missing], stop, on_look=lambda: _tell(work, progress))


def _tell(work: Work, progress: Progress) -> int:
    """How many pairs are in finished shards, which `progress` is told."""
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
