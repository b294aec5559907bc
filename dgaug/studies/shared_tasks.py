"""Tasks that any number of processes and machines work on together, in a folder that all of them see."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dgaug.runs import lock

WAIT = 1.0
"""Seconds between looks at what the other processes have finished."""
TIMES = "times.csv"
"""Task and seconds, a line for each task that a process finished; of one that was stopped, the last part only."""
_log = logging.getLogger("dgaug")


@dataclass(frozen=True)
class Task:
    """One part of the work.

    Attributes:
        name: in the log.
        folder: locked by the process that works on it.
        finished: the file that is there when the task is done.
        needs: files of other tasks that must be there first.
        work: does it, or resumes it.
    """

    name: str
    folder: Path
    finished: Path
    needs: tuple[Path, ...]
    work: Callable[[], None]


def work_through(tasks: Sequence[Task], folder: Path) -> None:
    """Do every task that no other process does, and return when all are done.

    A process that dies leaves its task to the others: the kernel frees the lock.
    """
    left = list(tasks)
    while left := [task for task in left if not task.finished.is_file()]:
        worked = False
        for task in left:
            if all(file.is_file() for file in task.needs):
                worked |= _worked_on(task, tasks, folder)
        if not worked:
            time.sleep(WAIT)


def _worked_on(task: Task, tasks: Sequence[Task], folder: Path) -> bool:
    with lock(task.folder) as mine:
        if not mine or task.finished.is_file():
            return False
        done = sum(one.finished.is_file() for one in tasks)
        _log.info("%d of %d are done; next: %s", done, len(tasks), task.name)
        began = time.perf_counter()
        task.work()
        with (folder / TIMES).open("a", encoding="utf-8", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerow((task.name, f"{time.perf_counter() - began:.1f}"))
    return True
