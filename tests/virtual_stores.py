"""Stores of codes made from the tiny run, as `synthesize` makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dgaug.data.training import read_data
from dgaug.models.checkpoints import load_generator, load_reid
from dgaug.progress import Progress, silent
from dgaug.runs import Run
from dgaug.store.index import begin_store
from dgaug.store.schema import StoreSpec
from dgaug.store.sources import Sources
from dgaug.synthesis.pairs import parse_pairs
from dgaug.synthesis.virtual import VIRTUAL_MICRO_BATCH, write_virtual_store


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
    """A store of codes of the run's data; goes on with the one that is there."""
    model, teacher = load_generator(run.checkpoint), load_reid(run.teacher)
    data = read_data(run.data_root(), model.settings.data)
    sources = Sources.of(data.splits["train"])
    design = parse_pairs(pairs).over(sources)
    spec = StoreSpec(
        pairs=design.text,
        planned=design.count,
        seed=0,
        image_size=model.settings.data.image_size,
        codec="codes",
        quality=0,
        labels=labels,
        min_confidence=least,
        shard_size=shard_size,
        micro_batch=VIRTUAL_MICRO_BATCH,
        generator_sha256=model.sha256,
        teacher_sha256="" if labels == "none" else teacher.sha256,
        dgaug_version="0.1.0",
    )
    begin_store(store, spec, sources)
    write_virtual_store(
        store,
        spec=spec,
        sources=sources,
        pairs=design,
        paths=[data.root / path for path in sources.path],
        used=np.unique(np.concatenate(design.slice(0, design.count))).astype(np.int64),
        model=model,
        teacher=teacher,
        encoding_batch=32,
        progress=progress,
    )
    return store
