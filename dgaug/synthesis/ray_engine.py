"""The engine `ray`: the shards of a synthesis as tasks of a Ray cluster, an existing one or one of our own."""

from __future__ import annotations

from dgaug.interrupts import StopRequest
from dgaug.progress import Progress
from dgaug.ray_cluster import RETRIES, finish, import_ray, joined, resources
from dgaug.synthesis.local_engine import tell
from dgaug.synthesis.tasks import Work, ensure_codes, forget_networks, make_shard


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
        tell(work, progress)
        finish(ray, [make.remote(shared, number) for number in missing], stop, on_look=lambda: tell(work, progress))
