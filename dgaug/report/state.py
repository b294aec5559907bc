"""How far a run is: what each step left, what is missing and why, and the command that comes next."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dgaug.errors import DgaugError
from dgaug.plain_yaml import read_yaml
from dgaug.report.curves import PhaseCurves
from dgaug.runs import Run
from dgaug.store.index import read_state

Part = TypeVar("Part")


@dataclass(frozen=True)
class Missing:
    """What stands in the place of a part that cannot be shown: why, and the command to run (empty: none)."""

    reason: str
    command: str = ""


def made_or_missing(make: Callable[[], Part | Missing], *, command: str) -> Part | Missing:
    """The part, or why bad input keeps it from being made."""
    try:
        return make()
    except DgaugError as error:
        return Missing(str(error), command)
    except OSError as error:
        return Missing(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), command)


def dgaug_command(*words: str | Path) -> str:
    """A `dgaug` command line as a shell takes it."""
    return shlex.join(["dgaug", *map(str, words)])


@dataclass(frozen=True)
class Step:
    """A step of the main job: whether it is done, what it left in a few words, and its command where it is not done."""

    name: str
    done: bool
    found: str
    command: str


def steps_of(run: Run, *, iteration: int | None, curves: list[PhaseCurves] | Missing) -> list[Step]:
    """The four steps; `iteration` is the checkpoint's (None: no usable one)."""
    return [_trained(run, iteration, curves), _synthesized(run), *_measured(run)]


def _trained(run: Run, iteration: int | None, curves: list[PhaseCurves] | Missing) -> Step:
    command = dgaug_command("train", "--resume", "--out", run.folder)
    planned = _planned(run)
    if iteration is not None:
        of = f" of {planned:,}" if planned else ""
        done = planned is None or iteration >= planned
        return Step("trained", done, f"{iteration:,}{of} iterations", "" if done else command)
    phase = "nothing yet" if isinstance(curves, Missing) else f"in the phase “{curves[-1].phase}”"
    return Step("trained", False, phase, command)


def _synthesized(run: Run) -> Step:
    command = dgaug_command("synthesize", "--run", run.folder)
    try:
        state = read_state(run.store)
    except DgaugError as error:
        return Step("synthesized", False, str(error), command)
    if state is None:
        return Step("synthesized", False, "no store yet", command)
    state_text = f"{state.count:,} images, pairs {state.spec.pairs}, {state.spec.codec}"
    if state.complete:
        return Step("synthesized", True, state_text, "")
    return Step("synthesized", False, f"unfinished: {state_text} planned", command)


def _measured(run: Run) -> list[Step]:
    models = len(list(run.reid.glob("*/ranking.json")))
    begun = f"unfinished: {models} model{'' if models == 1 else 's'} so far" if run.reid.is_dir() else "not yet"
    return [
        _results("scored", run, run.scores / "scores.json", "score-fid", otherwise="not yet"),
        _results("tried on re-id", run, run.reid / "results.json", "train-reid", otherwise=begun),
    ]


def _results(name: str, run: Run, file: Path, command: str, *, otherwise: str) -> Step:
    if file.is_file():
        return Step(name, True, "results below", "")
    return Step(name, False, otherwise, dgaug_command(command, "--run", run.folder))


def _planned(run: Run) -> int | None:
    """The iterations that `config.yaml` asks for; None where it cannot be told."""
    schedule = read_config(run.config).get("schedule")
    planned = schedule.get("iterations") if isinstance(schedule, dict) else None
    return planned if isinstance(planned, int) else None


def read_config(path: Path) -> dict[str, object]:
    """`config.yaml` as it stands, also one that this version would refuse; empty where it cannot be read."""
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
