"""The log of a run: one JSON object a line, and TensorBoard's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from dgaug.files import write_text


class TrainingLog:
    """Appends to `log.jsonl` and `tensorboard/`; iterations that come again after a crash replace their first lines."""

    def __init__(self, path: Path, *, start: int) -> None:
        self._path = path
        self._begun: set[str] = set()
        self._board = SummaryWriter(str(path.with_name("tensorboard")), purge_step=start or None)

    def write(self, phase: str, iteration: int, terms: Mapping[str, float], weights: Mapping[str, float]) -> None:
        """One line: the terms by name, unweighted, and the weights in force."""
        if phase not in self._begun:
            self._begun.add(phase)
            _drop_from(self._path, phase, iteration)
        line = {"phase": phase, "iteration": iteration, "terms": dict(terms), "weights": dict(weights)}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in terms.items():
            self._board.add_scalar(f"{phase}/{name}", value, iteration)
        for name, value in weights.items():
            self._board.add_scalar(f"weight/{name}", value, iteration)

    def close(self) -> None:
        """Close TensorBoard's files."""
        self._board.close()


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
