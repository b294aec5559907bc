"""Run a function in a child process, where a crash of a library in C ends the child and nothing else."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import traceback
from collections.abc import Callable
from typing import Any

SECONDS = 60
MEMORY = 12 << 30
"""Address space; PyTorch alone takes several gigabytes of it."""


class Crashed(AssertionError):
    """The child ended by a signal, took too long, or raised what it should not."""


def forked(function: Callable[[], Any], *, allowed: tuple[type[Exception], ...] = ()) -> Any:
    """What a function returns, or the exception of an allowed type that it raises, in a child of this process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        try:
            result = "returned", function()
        except allowed as error:
            result = "raised", type(error)(str(error))
        except BaseException:
            result = "failed", traceback.format_exc()
        with os.fdopen(write, "wb") as stream:
            pickle.dump(result, stream)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        content = stream.read()
    _, status = os.waitpid(child, 0)
    if status != 0 or not content:
        raise Crashed(f"the child ended with status {status}")
    how, value = pickle.loads(content)
    if how == "failed":
        raise Crashed(value)
    return value
