"""Programs that follow a training beside `log.jsonl`: TensorBoard, Weights & Biases and MLflow."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from dgaug.errors import DgaugError
from dgaug.outputs import flat
from dgaug.settings import Settings

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow"}
"""The package of each tracker that dgaug does not bring, and the extra that installs it."""
PROJECT = "dgaug"
_GROUP = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_log = logging.getLogger("dgaug")


def require_tracker(name: str) -> None:
    """Refuse a tracker whose package is not installed.

    Raises:
        DgaugError: names the extra that installs it.
    """
    package = PACKAGES.get(name)
    if package is not None and find_spec(package) is None:
        raise DgaugError(f"--log {name} needs the package {package}: pip install 'dgaug[{name}]', or use --log none")


def open_tracker(
    name: str, folder: Path, settings: Settings | None, *, start: int
) -> _TensorBoard | _Accelerated | None:
    """The tracker of a training in `folder`, which holds its files; None for `none`.

    Args:
        name: `tensorboard`, `wandb`, `mlflow` or `none`.
        folder: of the run or model; its name is that of the tracker's run.
        settings: what it is trained with.
        start: the iteration that it resumes from.

    Raises:
        DgaugError: its package is missing, or it does not start.
    """
    require_tracker(name)
    if name == "none":
        return None
    if name == "tensorboard":
        return _TensorBoard(folder, settings, start)
    return _Accelerated(name, folder, settings)


class _TensorBoard:
    """Files in `tensorboard/`; those of iterations that come again are dropped."""

    def __init__(self, folder: Path, settings: Settings | None, start: int) -> None:
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start or None)
        if settings is not None:
            indented = "\n".join(f"    {line}" for line in settings.to_yaml().splitlines())
            self._board.add_text("settings", indented, start)

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """Metrics of an iteration by name."""
        for name, value in values.items():
            self._board.add_scalar(name, value, iteration)

    def image(self, name: str, path: Path, iteration: int) -> None:
        """An image file made at an iteration."""
        with Image.open(path) as image:
            self._board.add_image(name, np.array(image.convert("RGB")), iteration, dataformats="HWC")

    def close(self) -> None:
        """Close the files."""
        self._board.close()


class _Accelerated:
    """A tracker of Accelerate; one that fails in the middle is left out from there on, and the training continues."""

    def __init__(self, name: str, folder: Path, settings: Settings | None) -> None:
        self._name, self._works, self._found = name, True, ExitStack()
        self._found.enter_context(_accelerate_state())
        try:
            self._tracker = _started(name, folder, self._found)
            if settings is not None:
                self._tracker.store_init_configuration(flat(settings.model_dump(mode="json"), "."))
        except Exception as error:
            self._found.close()
            offline = {"wandb": "WANDB_MODE=offline keeps its files here", "mlflow": "unset MLFLOW_TRACKING_URI"}[name]
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DgaugError(f"--log {name} does not start: {reason}; {offline}, or use --log none") from error

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """Metrics of an iteration by name."""
        if self._name == "wandb":
            # Its own steps only grow, and every phase counts from 0.
            self._try(lambda: self._tracker.log({**values, "iteration": iteration}))
        else:
            self._try(lambda: self._tracker.log(dict(values), step=iteration))

    def image(self, name: str, path: Path, iteration: int) -> None:
        """An image file made at an iteration."""
        if self._name == "mlflow":
            self._try(lambda: self._tracker.log_artifact(str(path), name))
            return
        with Image.open(path) as image:
            copy = image.convert("RGB")
        self._try(lambda: self._tracker.log_images({name: [copy]}))

    def close(self) -> None:
        """Finish the tracker's run."""
        self._try(self._tracker.finish)
        self._found.close()

    def _try(self, action: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            action()
        except Exception as error:
            self._works = False
            _log.warning("%s failed and gets nothing more: %s", self._name, " ".join(str(error).split()))


def _started(name: str, folder: Path, found: ExitStack) -> Any:
    """A tracker of Accelerate; `found` puts back what it changes for whoever uses the same program in this process."""
    from accelerate.tracking import MLflowTracker, WandBTracker

    folder.mkdir(parents=True, exist_ok=True)
    if name == "wandb":
        tracker = WandBTracker(PROJECT, dir=str(folder), name=folder.name)
    else:
        import mlflow

        artifacts = None
        if not os.environ.get("MLFLOW_TRACKING_URI"):
            found.callback(mlflow.set_tracking_uri, mlflow.get_tracking_uri())
            mlflow.set_tracking_uri(f"sqlite:///{(folder / 'mlflow.db').resolve()}")
            artifacts = (folder / "mlruns").resolve().as_uri()
        tracker = MLflowTracker(PROJECT, logging_dir=artifacts, run_name=folder.name)
    if hasattr(tracker, "start"):
        tracker.start()
    return tracker


@contextmanager
def _accelerate_state() -> Iterator[None]:
    """Accelerate's trackers ask its state who they are: where there is none, one of a single process for this time."""
    from accelerate.state import PartialState

    if PartialState._shared_state:
        yield
        return
    kept = {name: os.environ.pop(name) for name in _GROUP if name in os.environ}
    try:
        PartialState(cpu=True)
    finally:
        os.environ.update(kept)
    try:
        yield
    finally:
        PartialState._reset_state()
