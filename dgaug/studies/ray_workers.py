"""A study on a Ray cluster: Ray starts workers, which share the tasks of the study as processes started by hand do."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import torch

from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.progress import Progress, silent
from dgaug.ray_cluster import RETRIES, finish, import_ray, joined, resources, slots
from dgaug.studies.curve_study import CurveStudy
from dgaug.studies.shared_tasks import work_through


def work_on_ray(curve: CurveStudy, *, address: str | None, progress: Progress) -> None:
    """Do what is left of a study with as many workers as the cluster has room for.

    A worker is started again when it dies; its task resumes where it was last saved. `address` as for `joined`.

    Raises:
        DgaugError: no Ray, no such cluster, too few cores, or a worker that does not see the folders.
    """
    tasks = curve.tasks()
    left = sum(not task.finished.is_file() for task in tasks)
    if not left:
        return
    ray = import_ray()
    with stop_requests() as stop, joined(ray, address):
        asked = resources(ray, torch.get_num_threads())
        worker = ray.remote(max_retries=RETRIES, scheduling_strategy="SPREAD", **asked)(_work)
        shared = ray.put(replace(curve, progress=silent))
        workers = [worker.remote(shared, Path.cwd()) for _ in range(min(left, slots(ray, asked)))]
        told = -1

        def tell() -> None:
            nonlocal told
            done = sum(task.finished.is_file() for task in tasks)
            if done > told:  # the last line would be repeated until the workers have ended
                progress("study", done, len(tasks))
            told = done

        finish(ray, workers, stop, on_look=tell)


def _work(curve: CurveStudy, here: Path) -> None:
    """A worker: in the folder that the caller is in, so that relative paths mean the same."""
    try:
        os.chdir(here)
    except OSError as error:
        raise DgaugError(
            f"{socket.gethostname()} does not see {here}, where the study was started; start it in a folder that all "
            "machines of the Ray cluster share"
        ) from error
    if not curve.data.root.exists() or not curve.folder.is_dir():
        raise DgaugError(
            f"{socket.gethostname()} does not see {curve.data.root} and {curve.folder}; give --data and --out that all "
            "machines of the Ray cluster share"
        )
    work_through(curve.tasks(), curve.folder)
