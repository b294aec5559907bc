"""Memory and open files stay flat, however long a job runs; the slope that is found stands in the table."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from ledger import tried
from tiny_run import write_config

from dgaug.data.toy import write_toy
from dgaug.runs import Run
from dgaug.store.read import open_store
from dgaug.store.verify import verify
from dgaug.synthesis.job import synthesize
from dgaug.training.train import train

STEPS = int(os.environ.get("DGAUG_HOSTILE_STEPS", "10000"))
SIDE = int(os.environ.get("DGAUG_HOSTILE_SIDE", "1000"))
"""Sources; the store holds all pairs of them, a million."""
GROWTH = 24.0
"""Megabytes that a whole run may grow by after its first fifth: less than a batch of a real run."""


class Meter:
    """A listener that notes resident memory and open files while a job runs."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.rows: list[tuple[float, float, int]] = []
        self.calls = 0

    def __call__(self, title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        self.calls += 1
        if self.calls % self.every == 0:
            self.note()

    def note(self) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.rows.append((self.calls, pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))))

    def require_flat(self, what: str) -> None:
        """The straight line through what comes after the first fifth rises by next to nothing."""
        rows = np.array(self.rows[len(self.rows) // 5 :])
        assert len(rows) >= 20, "too few measurements for a slope"
        length = rows[-1, 0] - rows[0, 0]
        memory, files = (np.polyfit(rows[:, 0], rows[:, column], 1)[0] * length for column in (1, 2))
        spread = float(rows[:, 1].std())
        result = (
            f"slope {memory:+.1f} MB over its length, spread {spread:.1f}, of {rows[:, 1].mean():,.0f} MB; "
            f"open files {files:+.1f} of {rows[:, 2].mean():.0f}"
        )
        assert memory < GROWTH, result
        assert abs(files) < 1, result
        tried(f"long run: {what}", result)


@pytest.mark.hostile
def test_training_does_not_grow(tmp_path: Path) -> None:
    config = write_config(
        tmp_path / "long.yaml",
        teacher={"iterations": 10},
        schedule={"iterations": STEPS},
        checkpoint={"every": max(1, STEPS // 10), "preview": max(1, STEPS // 10), "log": 50},
    )
    meter = Meter(max(1, STEPS // 200))
    train(config=config, out=tmp_path / "run", progress=meter)
    meter.require_flat(f"training, {STEPS:,} steps")


@pytest.mark.hostile
def test_a_million_pairs_do_not_grow(tmp_path: Path, tiny_run: Run) -> None:
    write_toy(tmp_path / "data", identities=SIDE // 4, images_per_identity=4, cameras=3, size=(64, 32))
    writing = Meter(1)
    made = synthesize(
        checkpoint=tiny_run.checkpoint,
        data=tmp_path / "data",
        teacher="none",
        codec="codes",
        shard_size=max(64, SIDE * SIDE // 100),
        out=tmp_path / "store",
        progress=writing,
    )
    assert made.count == SIDE * SIDE
    writing.require_flat(f"synthesis, {made.count:,} pairs")
    checking = Meter(1)

    def turned(done: int, total: int) -> None:
        checking("", done, total)

    assert verify(tmp_path / "store", on_progress=turned).ok
    checking.require_flat(f"verify, {made.count:,} pairs")
    store, reading = open_store(tmp_path / "store", device="cpu"), Meter(1)
    rows = np.random.default_rng(0).permutation(len(store))
    for start in range(0, min(len(rows), 20_000), 200):
        store.batch(rows[start : start + 200])
        gc.collect()
        reading("", start, len(rows))
    reading.require_flat("reading 20,000 images of it at random")
