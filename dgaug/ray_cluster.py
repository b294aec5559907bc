"""Tasks of a Ray cluster, an existing one or one of our own that is stopped afterwards."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from dgaug.device import AUTO
from dgaug.errors import DgaugError
from dgaug.interrupts import StopRequest
from dgaug.launched import world_size

ENGINES = ("local", "ray")
RETRIES = 3
"""How often a task starts again after its worker died."""
_OBJECT_STORE = 200 << 20
"""Bytes for Ray's own objects: only the description of the work is one, images go to the store."""
_ANSWER_WITHIN = 20.0
_LOOK_EVERY = 0.5


def require_engine(name: str, address: str | None, device: str) -> None:
    """Refuse an engine that does not exist, and what does not go with it.

    Raises:
        DgaugError: says what to remove.
    """
    if name not in ENGINES:
        raise DgaugError(f"expected --engine to be one of {', '.join(ENGINES)}, found '{name}'")
    if name == "local" and address is not None:
        raise DgaugError("--ray-address needs --engine ray")
    if name == "ray" and device != AUTO:
        raise DgaugError(f"each worker of --engine ray uses the device that Ray gives it; remove --device {device}")
    if name == "ray" and world_size() > 1:
        raise DgaugError("--engine ray starts workers of its own; start it without torchrun")


def finish(ray: ModuleType, tasks: list[Any], stop: StopRequest, *, on_look: Callable[[], object]) -> None:
    """Wait for all tasks; the first one that fails, or a signal, ends the others. `on_look`: called now and then."""
    waiting = tasks
    try:
        while waiting:
            done, waiting = ray.wait(waiting, timeout=_LOOK_EVERY)
            stop.leave()
            if done:
                _raise_ours(ray, done)
            on_look()
    finally:
        for task in waiting:
            ray.cancel(task, force=True)


def _raise_ours(ray: ModuleType, done: list[Any]) -> None:
    try:
        ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (DgaugError, OSError)):
            raise error.cause from None
        if isinstance(error.cause, ImportError):
            raise DgaugError(
                f"a worker of the Ray cluster cannot import dgaug ({error.cause}); install it on every machine"
            ) from None
        raise
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        raise DgaugError(
            f"a worker of the Ray cluster died {RETRIES + 1} times at the same task ({type(error).__name__}: {first}); "
            "is its memory enough? What is finished stays: run the same command again to resume"
        ) from error


def import_ray() -> ModuleType:
    # Without these, Ray reports its use to its makers, and warns of a change in a case that does not occur here.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise DgaugError(
            "--engine ray needs Ray, which is not installed: pip install 'dgaug[ray]' (or remove --engine ray)"
        ) from error
    module: ModuleType = ray
    return module


@contextmanager
def joined(ray: ModuleType, address: str | None) -> Iterator[None]:
    """Joined to a cluster for the length of a block; one that the caller has joined already stays joined.

    `address` None: that of RAY_ADDRESS, or a cluster on this machine that is stopped afterwards.

    Raises:
        DgaugError: no such cluster.
    """
    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE} if address == "local" else {}
    if address not in ("local", "auto"):
        _require_answer(address)
    try:
        with _handlers_kept():
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DgaugError(f"cannot join the Ray cluster at {address}: {reason}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuse within seconds an address where no cluster answers; Ray itself would try for many minutes."""
    refusal = f"no Ray cluster answers at {address}; see its address with `ray status`, or remove --ray-address"
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        raise DgaugError(f"expected --ray-address HOST:PORT, ray://HOST:PORT, auto or local, found '{address}'")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_WITHIN).close()
    except (OSError, OverflowError) as error:
        raise DgaugError(f"{refusal} ({error})") from error
    if address.startswith("ray://"):
        return
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        healthy = subprocess.run(command, capture_output=True, timeout=_ANSWER_WITHIN, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        healthy = False
    if not healthy:
        raise DgaugError(refusal)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Signal handlers as they were: Ray puts one of its own in the place of that for SIGTERM."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def resources(ray: ModuleType, threads: int) -> dict[str, int]:
    """What a task asks for: a GPU where the cluster has any, else as many cores as it uses threads."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(machine.get("GPU", 0) >= 1 for machine in machines):
        return {"num_cpus": 1, "num_gpus": 1}
    largest = int(max((machine.get("CPU", 0) for machine in machines), default=0))
    if largest < threads:
        raise DgaugError(
            f"expected a machine with {threads} cores in the Ray cluster (the threads that torch uses here), found "
            f"{largest} at most; set OMP_NUM_THREADS={max(1, largest)} or less"
        )
    return {"num_cpus": threads}


def slots(ray: ModuleType, asked: Mapping[str, int]) -> int:
    """How many tasks that ask for this run at once on the whole cluster, at least 1."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = [min(int(machine.get(names[name], 0) // count) for name, count in asked.items()) for machine in machines]
    return max(1, sum(room))
