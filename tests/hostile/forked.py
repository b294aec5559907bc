"""Run a function in a child process, where a crash of a library in C ends the child and nothing else."""

from __future__ import annotations

import io
import os
import pickle
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dgaug_cli.main import main

SECONDS = 60
"""Of processor time: how busy the machine is changes nothing."""
WAITING = 3600
"""Seconds after which a child that computes nothing waits for what never comes."""
MEMORY = 12 << 30
"""Address space; PyTorch alone takes several gigabytes of it."""

STOPPING = (signal.SIGINT, signal.SIGTERM)


class Crashed(AssertionError):
    """The child ended by a signal, took too long, or raised what it should not."""


def forked(function: Callable[[], Any], *, allowed: tuple[type[Exception], ...] = ()) -> Any:
    """What a function returns, or the exception of an allowed type that it raises, in a child of this process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        signal.alarm(WAITING)
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


def started(arguments: tuple[str, ...], log: Path, *, first: Callable[[], object] = bool) -> int:
    """A `dgaug` command in a child of its own process group, its words in a file: PyTorch is there already.

    `first` is what the child does before. Signals wait until it is ready for them: earlier it is still this process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return child
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    words = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(words, 1)
    os.dup2(words, 2)
    # Python's own streams may belong to pytest's capture.
    sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(number, "w"), "utf-8") for number in (1, 2))
    sys.argv = ["dgaug", *arguments]
    first()
    code = 99
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    except KeyboardInterrupt:
        os._exit(128 + signal.SIGINT)
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def ended(child: int) -> int:
    """The exit code of such a child, minus the signal's number where one ended it; nothing of its group is left."""
    _, status = os.waitpid(child, 0)
    for _ in range(100):
        try:
            os.killpg(child, 0)
        except ProcessLookupError:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    raise AssertionError("an orphan is left")
