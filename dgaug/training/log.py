"""The log of a run: one JSON object a line, and TensorBoard's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter


class TrainingLog:
    """Appends to `log.jsonl` and `tensorboard/`; on resume both go on from the checkpoint's iteration."""

    def __init__(self, path: Path, *, start: int) -> None:
        kept = _lines_before(path, start)
        path.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(path.with_name("tensorboard")), purge_step=start or None)

    def write(self, phase: str, iteration: int, terms: Mapping[str, float], weights: Mapping[str, float]) -> None:
        """One line: the terms by name, unweighted, and the weights in force."""
        line = {"phase": phase, "iteration": iteration, "terms": dict(terms), "weights": dict(weights)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        for name, value in terms.items():
            self._board.add_scalar(f"{phase}/{name}", value, iteration)
        for name, value in weights.items():
            self._board.add_scalar(f"weight/{name}", value, iteration)

    def close(self) -> None:
        """Close both."""
        self._file.close()
        self._board.close()


def _lines_before(path: Path, start: int) -> list[str]:
    if not path.is_file():
        return []
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            break  # half a line: the process was killed while writing it
        if entry["phase"] == "teacher" or entry["iteration"] < start:
            kept.append(line)
    return kept
