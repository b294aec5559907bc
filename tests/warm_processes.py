"""Processes of their own that start in milliseconds: forked from a server that has imported PyTorch and dgaug already.

They differ from `python -m dgaug` in nothing else that the tests look at: signals, exit codes, environment, working
folder, and what is printed where. A test that changes what is read while modules are imported starts a real one.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

PRELOADED = (
    "dgaug.report.page",
    "dgaug.studies.ablation",
    "dgaug.scores.quality.score",
    "dgaug.store.verify",
    "dgaug.training.train",
)
"""Not the command line: it reads the rank of a process when it is imported."""
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(list(PRELOADED))


class WarmProcess:
    """A function in a process of its own, with the interface of `subprocess.Popen` as far as the tests use it."""

    def __init__(
        self,
        function: Callable[..., object],
        *arguments: object,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.args = (function.__name__, *arguments)
        self._files = Path(tempfile.mkdtemp(prefix="warm-"))
        settled = (os.fspath(cwd or Path.cwd()), os.environ | (environment or {}), os.fspath(self._files))
        self._process = _SERVER.Process(target=_run, args=(settled, function, arguments))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self._said: tuple[str, str] | None = None

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the number of the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """`returncode`."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(list(map(str, self.args)), timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; what was printed to stdout and stderr."""
        self.wait(timeout)
        if self._said is None:
            out, err = ((self._files / name).read_text(encoding="utf-8") for name in ("out", "err"))
            self._said = out, err
            shutil.rmtree(self._files)
        return self._said

    def send_signal(self, number: int) -> None:
        """A signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without warning."""
        self._process.kill()


def _run(settled: tuple[str, dict[str, str], str], function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    folder, environment, files = settled
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{files}/{name}", os.O_WRONLY | os.O_CREAT), number)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup` has the suite ignore
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    function(*arguments)


def run_command(*arguments: str) -> None:
    """A `dgaug` command, to its exit."""
    from dgaug_cli.main import main

    sys.argv = ["dgaug", *arguments]
    main()


def run_with_small_files(limit: int, *arguments: str) -> None:
    """A `dgaug` command that can write no file of more than `limit` bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    run_command(*arguments)


def run_with_threads(count: int, *arguments: str) -> None:
    """A `dgaug` command with so many threads of PyTorch."""
    torch.set_num_threads(count)
    run_command(*arguments)


def start_ranks(function: Callable[..., object], *arguments: object, count: int = 2) -> list[WarmProcess]:
    """A function in as many processes as torchrun would start, without the process that watches over them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    shared["LOCAL_WORLD_SIZE"] = str(count)
    return [
        WarmProcess(function, *arguments, environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
