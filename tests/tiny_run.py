"""The smallest run that goes through every command, and ways to run commands on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from held import Hold, start_held
from torch import Tensor
from warm_processes import WarmProcess, run_command

from dgaug.outputs import changes
from dgaug.settings import Settings, decisive, parse_settings

IDENTITIES, IMAGES_PER_IDENTITY = 6, 4
IMAGES = IDENTITIES * IMAGES_PER_IDENTITY
TINY = {
    "name": "tiny",
    "data": {"height": 64, "width": 32, "pad": 2},
    "toy": {"identities": IDENTITIES, "images_per_identity": IMAGES_PER_IDENTITY, "cameras": 3},
    "model": {"width": 0.25, "backbone": "small", "weights": "none", "embedding": 16},
    "teacher": {"iterations": 24, "batch_size": 8},
    "schedule": {"iterations": 8, "batch_size": 2, "ramp_start": 0.0, "ramp_length": 0.5},
    "checkpoint": {"every": 1, "preview": 4, "log": 1},
    "reid": {"iterations": 6, "batch_size": 8},
}


def tiny_settings(**sections: dict[str, object]) -> Settings:
    """The tiny settings with some values of some sections replaced."""
    values = {name: dict(value) if isinstance(value, dict) else value for name, value in TINY.items()}
    for name, section in sections.items():
        result = values.setdefault(name, {})
        assert isinstance(result, dict)
        result.update(section)
    return parse_settings(values, source="tiny settings")


def differing(left: Settings, right: Settings) -> list[str]:
    """The settings that weights depend on and whose values differ, each with both values."""
    return changes(decisive(left), decisive(right))


def write_config(path: Path, **sections: dict[str, object]) -> Path:
    """A YAML file of `tiny_settings`."""
    path.write_text(yaml.safe_dump(tiny_settings(**sections).model_dump(mode="json")), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said where."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one line of an exit with code 2, which must be all there is to see."""
        assert self.code == 2, (self.code, self.err)
        lines = self.err.strip().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        assert len(errors) == 1, self.err
        assert lines[-1] == errors[0], self.err
        assert "Traceback" not in self.err
        assert self.out == ""
        return errors[0]


RunCommand = Callable[..., Ended]
"""Runs a command to its exit in this process; the fixture `dgaug`."""


Started = subprocess.Popen[str] | WarmProcess
WAITED_FOR = 3600
"""Seconds after which a process hangs, however busy the machine is."""


def start_process(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> Started:
    """A `dgaug` process, which is started from nothing where its environment is another."""
    if not environment:
        return WarmProcess(run_command, *map(str, arguments), cwd=cwd)
    return start_cold(*arguments, cwd=cwd, **environment)


def start_cold(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
    """`python -m dgaug …`."""
    return subprocess.Popen(
        [sys.executable, "-m", "dgaug", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_process(process: Started) -> Ended:
    """Wait for a process; its end."""
    out, err = process.communicate(timeout=WAITED_FOR)
    assert process.returncode is not None
    return Ended(process.returncode, out, err)


def finish_ranks(processes: list[WarmProcess]) -> Ended:
    """Wait for all processes of a job; the first code that is not 0, and what all of them said."""
    ends = [finish_process(process) for process in processes]
    code = next((ended.code for ended in ends if ended.code), 0)
    return Ended(code, "".join(ended.out for ended in ends), "".join(ended.err for ended in ends))


def wait_until_held(where: Hold, process: Started) -> None:
    """Until a process waits; it must not have ended before."""
    while not where.is_held():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def signal_at(file: Path, number: int, *arguments: str | Path) -> Ended:
    """Start a `dgaug` process and send it a signal once a file is there, before it puts another one in its place."""
    where = Hold(file)
    process = start_held(where, *arguments)
    wait_until_held(where, process)
    process.send_signal(number)
    return finish_process(process)


def tensors_of(content: object, name: str = "") -> dict[str, Tensor]:
    """Every tensor in nested dictionaries and lists, by its place."""
    if isinstance(content, Tensor):
        return {name: content}
    if isinstance(content, dict):
        items = list(content.items())
    elif isinstance(content, list):
        items = list(enumerate(content))
    else:
        return {}
    return {place: tensor for key, value in items for place, tensor in tensors_of(value, f"{name}/{key}").items()}


def assert_same_checkpoint(path: Path, other: Path) -> None:
    """Equal to the last bit: networks and optimisers."""
    mine, theirs = (tensors_of(torch.load(file, weights_only=True)) for file in (path, other))
    assert mine.keys() == theirs.keys()
    assert len(mine) > 20
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
