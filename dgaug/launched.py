"""Whether a launcher (torchrun and its like) started this process as one of a group, as its variables say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dgaug.errors import DgaugError

_LAST_PORT = 65535
_GROUP = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK")


@dataclass(frozen=True)
class Launched:
    """The place of a process in its group.

    Attributes:
        rank: from 0; rank 0 writes files and logs.
        size: of the group, on every machine; 1: this process is alone.
        local_size: how many of the group are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1


def launched() -> Launched:
    """What WORLD_SIZE, RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT say; an empty one counts as not set.

    Without WORLD_SIZE, or with 1, this process is alone, whatever RANK a job or a shell left behind.

    Raises:
        DgaugError: a variable is no number, out of range, or missing in a group; names it.
    """
    size = world_size()
    rank, local_size = _number("RANK"), _number("LOCAL_WORLD_SIZE", least=1)
    port = _number("MASTER_PORT", most=_LAST_PORT)
    _number("LOCAL_RANK")
    if size == 1:
        return Launched()
    for name, missing in (
        ("RANK", rank is None),
        ("MASTER_ADDR", not os.environ.get("MASTER_ADDR", "").strip()),
        ("MASTER_PORT", port is None),
    ):
        if missing:
            raise DgaugError(
                f"WORLD_SIZE={size} says that this is one of {size} processes, and {name} is not set; start them with "
                "torchrun, which sets it, or unset WORLD_SIZE to work in one process"
            )
    rank = rank or 0
    if rank >= size:
        raise DgaugError(
            f"expected RANK below WORLD_SIZE, found RANK={rank} with WORLD_SIZE={size}; start the processes with "
            "torchrun, or unset both to work in one process"
        )
    return Launched(rank, size, local_size or 1)


@contextmanager
def alone() -> Iterator[int | None]:
    """Work as one process in a block although a launcher started a group: each does tasks of its own.

    Yields the rank on this machine, None where there is no group.
    """
    local_rank = _number("LOCAL_RANK") if launched().size > 1 else None
    before = {name: os.environ.pop(name) for name in _GROUP if name in os.environ}
    try:
        yield local_rank
    finally:
        os.environ.update(before)


def world_size() -> int:
    """How many processes WORLD_SIZE speaks of; DgaugError where it is no number."""
    return _number("WORLD_SIZE", least=1) or 1


def _number(name: str, *, least: int = 0, most: int | None = None) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < least or (most is not None and int(text) > most):
        limits = f"from {least} on" if most is None else f"from {least} to {most}"
        raise DgaugError(
            f"expected a whole number {limits} in the environment variable {name}, found {text[:40]!r}; unset it, or "
            "start with torchrun, which sets it"
        )
    return int(text)
