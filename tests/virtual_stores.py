"""Stores of codes made from the tiny run."""

from __future__ import annotations

from pathlib import Path

from dgaug.progress import Progress, silent
from dgaug.runs import Run
from dgaug.synthesis.job import synthesize


def write_tiny_virtual(
    run: Run,
    store: Path,
    *,
    pairs: str = "all",
    labels: str = "none",
    shard_size: int = 200,
    least: float = 0.0,
    progress: Progress = silent,
) -> Path:
    """A store of codes of the run's data; resumes the one that is there."""
    synthesize(
        run.folder,
        pairs=pairs,
        codec="codes",
        teacher="none" if labels == "none" else None,
        labels_dense=labels == "dense",
        min_confidence=least,
        shard_size=shard_size,
        out=store,
        progress=progress,
    )
    return store
