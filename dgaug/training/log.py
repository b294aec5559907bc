"""The log of a training: one JSON object a line, and a tracker beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from dgaug.files import write_text
from dgaug.settings import Settings
from dgaug.training.trackers import open_tracker


class TrainingLog:
    """Appends to `log.jsonl` and tells a tracker; iterations that come again after a crash replace their first lines.

    Args:
        path: the file; a tracker keeps its files beside it.
        start: the iteration that the training resumes from.
        settings: what it is trained with, the tracker among them; None: TensorBoard.

    Raises:
        DgaugError: the tracker is not installed, or does not start.
    """

    def __init__(self, path: Path, *, start: int, settings: Settings | None = None) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._begun: set[str] = set()
        name = "tensorboard" if settings is None else settings.checkpoint.tracker
        self._tracker = open_tracker(name, path.parent, settings, start=start)

    def write(self, phase: str, iteration: int, terms: Mapping[str, float], weights: Mapping[str, float]) -> None:
        """One line: the terms by name, unweighted, and the weights in force."""
        if phase not in self._begun:
            self._begun.add(phase)
            _drop_from(self._path, phase, iteration)
        line = {"phase": phase, "iteration": iteration, "terms": dict(terms), "weights": dict(weights)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._tracker is not None:
            named = {f"{phase}/{name}": value for name, value in terms.items()}
            self._tracker.scalars(named | {f"weight/{name}": value for name, value in weights.items()}, iteration)

    def image(self, name: str, path: Path, iteration: int) -> None:
        """An image file made at an iteration."""
        if self._tracker is not None:
            self._tracker.image(name, path, iteration)

    def close(self) -> None:
        """Close the tracker."""
        if self._tracker is not None:
            self._tracker.close()


def _drop_from(path: Path, phase: str, iteration: int) -> None:
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            entry = json.loads(line)
            earlier = entry["phase"] != phase or entry["iteration"] < iteration
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # half a line: the process was killed while writing it; or a damaged one
        if earlier:
            kept.append(line)
    write_text(path, "".join(kept))
