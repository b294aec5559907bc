"""`dgaug synthesize`: codes once, then shard after shard, each whole or absent."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

from dgaug.data.prepare import read_data
from dgaug.data.recorded import read_run_data
from dgaug.data.records import IdentityData
from dgaug.device import AUTO, default_device, on_device, require_precision
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.outputs import remove, require_only
from dgaug.progress import Progress, silent
from dgaug.ray_cluster import require_engine
from dgaug.runs import Run, find_run, locked
from dgaug.store.assemble import finish_store
from dgaug.store.index import begin_store, read_state
from dgaug.store.micro_batch import default_micro_batch
from dgaug.store.schema import DATASET_FILE
from dgaug.store.shard_writer import finished_shards
from dgaug.store.sources import Sources
from dgaug.store.spec import StoreSpec
from dgaug.surroundings import as_found
from dgaug.synthesis.added_pairs import designs_of, parts_of
from dgaug.synthesis.engines import make_here, make_on_ray, wait_until_finished
from dgaug.synthesis.estimate import Plan, plan_of
from dgaug.synthesis.pairs import Pairs, parse_pairs
from dgaug.synthesis.tasks import Networks, Work, drop_unfinished, forget_networks, load_networks

VIRTUAL_MICRO_BATCH = 8
"""Images that the reader of a store of codes draws at a time: few, because it may want a single one."""
JPEG_QUALITY = 90
_log = logging.getLogger("dgaug")


@dataclass(frozen=True)
class Synthesis:
    """What became of a call of `synthesize`.

    Attributes:
        store: the store folder.
        plan: the estimate.
        count: images in the store; 0 after a dry run.
        already_complete: the store was there, whole, with these settings.
    """

    store: Path
    plan: Plan
    count: int
    already_complete: bool


@dataclass(frozen=True)
class _Origin:
    """Where generator, data and teacher come from, and where the store goes."""

    checkpoint: Path
    data: Path | Run | IdentityData
    teacher: Path | None
    store: Path


@dataclass(frozen=True)
class _Asked:
    """What the caller asks of the store."""

    pairs: str
    codec: str
    quality: int
    labels_dense: bool
    min_confidence: float
    shard_size: int | None
    seed: int
    precision: str
    add: bool


@as_found
@on_device
def synthesize(
    run: str | Path = "latest",
    *,
    checkpoint: str | Path | None = None,
    data: str | Path | IdentityData | None = None,
    teacher: str | Path | None = None,
    pairs: str = "all",
    codec: str = "jpeg",
    quality: int = JPEG_QUALITY,
    labels_dense: bool = False,
    min_confidence: float = 0.0,
    shard_size: int | None = None,
    seed: int = 0,
    precision: str = "fp32",
    out: str | Path | None = None,
    engine: str = "local",
    ray_address: str | None = None,
    device: str = AUTO,
    add: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> Synthesis:
    """Write a store of generated images; resumes where an earlier call stopped.

    Args:
        run: the run whose generator, data and teacher are used, unless the next three say otherwise.
        checkpoint: a DG-Net checkpoint instead of a run's; then `data` is needed.
        data: the data set whose training images are the donors, or one that was read.
        teacher: a re-id checkpoint for the soft labels; `none` for no labels; None: the run's.
        pairs: `all`, `cross-identity`, `cross-camera`, `random:K`, `per-appearance:K`, `grid:AxB`, `csv:FILE`.
        codec: `jpeg`, `png`, `raw`, or `codes`: images are drawn when they are asked for.
        quality: JPEG quality, 1 to 100.
        labels_dense: store every class's probability instead of the ten most probable.
        min_confidence: leave out images whose most probable class stays under it.
        shard_size: images per shard.
        seed: of the pair designs that choose.
        precision: `fp32`, `bf16` (decoder) or `bf16-labels` (decoder and teacher); codes are always made in fp32.
        out: the store; None: `store/` in the run.
        engine: `local` (this process, or all that torchrun started) or `ray` (tasks of a Ray cluster).
        ray_address: a running cluster; None: that of RAY_ADDRESS, or one that is started here and stopped afterwards.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        add: add the pairs to the store that is there, which stays readable meanwhile; pairs that it has are left out.
        dry_run: estimate only; nothing is written.
        yes: proceed even if the estimated size exceeds free disk space.
        force: throw away the store that is there.

    Raises:
        DgaugError: wrong use or bad input.
        Interrupted: a signal arrived; finished shards stay.
    """
    asked = _Asked(pairs, codec, quality, labels_dense, min_confidence, shard_size, seed, precision, add)
    require_engine(engine, ray_address, device)
    processes = Processes.here()
    require_precision(precision, processes.device, option="--precision ")
    first, share = processes.is_rank_zero, processes.broadcast
    prepared = None
    if first:
        origin = _origin(run, checkpoint, data, teacher, out)
        work, plan = _prepared(origin, asked, force=force, progress=progress)
        if not dry_run and not yes:
            _require_space(plan, origin.store)
        prepared = work, plan, origin.store
    job = share(prepared)
    assert job is not None
    work, plan, store = job
    if dry_run:
        return Synthesis(store, plan, 0, already_complete=False)
    try:
        with locked(store, what="store") if first else nullcontext():
            missing, complete = share(_begun(work, force=force) if first else ([], False))
            count = _make(work, missing, engine, processes, ray_address=ray_address, progress=progress)
    finally:
        forget_networks()
    return Synthesis(store, plan, count, already_complete=complete)


def _origin(
    run: str | Path,
    checkpoint: str | Path | None,
    data: str | Path | IdentityData | None,
    teacher: str | Path | None,
    out: str | Path | None,
) -> _Origin:
    donors = data if data is None or isinstance(data, IdentityData) else Path(data)
    if checkpoint is not None:
        if donors is None:
            raise DgaugError("--checkpoint needs --data: the data set whose images are the donors")
        if out is None:
            raise DgaugError("--checkpoint needs --out: there is no run folder to put the store in")
        if teacher is None:
            _log.warning("no labels: --checkpoint came without --teacher FILE")
        judge = None if teacher in (None, "none") else Path(str(teacher))
        return _Origin(Path(checkpoint), donors, judge, Path(out))
    trained = find_run(str(run))
    if not trained.checkpoint.is_file():
        raise DgaugError(f"{trained.folder} has no checkpoint; run dgaug train --resume --out {trained.folder} first")
    judge = None if teacher == "none" else Path(teacher) if teacher else trained.teacher
    if judge == trained.teacher and not judge.is_file():
        raise DgaugError(f"{trained.folder} has no teacher; give one with --teacher FILE, or --teacher none: no labels")
    return _Origin(trained.checkpoint, donors or trained, judge, Path(out) if out else trained.store)


def _prepared(origin: _Origin, asked: _Asked, *, force: bool, progress: Progress) -> tuple[Work, Plan]:
    """Everything read and checked; nothing is written yet."""
    parsed = parse_pairs(asked.pairs)
    # Absolute, because workers may run elsewhere.
    checkpoint, teacher = origin.checkpoint.absolute(), origin.teacher.absolute() if origin.teacher else None
    networks = load_networks(checkpoint, teacher)
    reading = networks.generator.settings.data
    if isinstance(origin.data, IdentityData):
        content = origin.data
    elif isinstance(origin.data, Run):
        content = read_run_data(origin.data, reading, progress=progress)
    else:
        content = read_data(origin.data, reading, progress=progress)
    sources = Sources.of(content.splits["train"])
    if networks.teacher is not None:
        networks.teacher.require(
            sources.class_name, networks.generator.settings.data.image_size, source=str(content.source)
        )
    elif asked.min_confidence > 0:
        raise DgaugError("--min-confidence needs a teacher; remove --teacher none")
    design = parsed.over(sources, seed=asked.seed)
    there = None if force else read_state(origin.store)
    spec = _spec(design, asked, networks, existing=there.spec if there else None)
    work = Work(
        store=origin.store.absolute(),
        checkpoint=checkpoint,
        teacher=teacher,
        data=content.root.absolute(),
        sources=sources,
        designs=designs_of(origin.store, spec, sources, asked=design, seed=asked.seed),
        spec=spec,
        threads=torch.get_num_threads(),
        levels=content.levels,
    )
    return work, plan_of(work, networks, afresh=force)


def _spec(design: Pairs, asked: _Asked, networks: Networks, *, existing: StoreSpec | None) -> StoreSpec:
    teacher = networks.teacher
    parts = parts_of(
        design,
        existing.parts if existing else (),
        seed=asked.seed,
        shard_size=asked.shard_size,
        add=asked.add,
    )
    if existing is not None:  # which another device may resume
        micro_batch = existing.micro_batch
    else:
        size = networks.generator.settings.data.image_size
        micro_batch = VIRTUAL_MICRO_BATCH if asked.codec == "codes" else default_micro_batch(default_device(), size)
    return StoreSpec(
        parts=parts,
        image_size=networks.generator.settings.data.image_size,
        codec=asked.codec,
        quality=asked.quality if asked.codec == "jpeg" else 0,
        labels="none" if teacher is None else "dense" if asked.labels_dense else "top",
        min_confidence=asked.min_confidence,
        micro_batch=micro_batch,
        generator_sha256=networks.generator.sha256,
        teacher_sha256=teacher.sha256 if teacher else "",
        dgaug_version=metadata.version("dgaug"),
        precision=asked.precision,
    )


def _require_space(plan: Plan, store: Path) -> None:
    if plan.to_write > plan.free:
        raise DgaugError(
            f"{plan.pairs:,} images need about {plan.to_write / 1e9:,.1f} GB more, {plan.free / 1e9:,.1f} GB are "
            f"free at {store}; choose fewer --pairs, another --out, or --yes to try"
        )


def _begun(work: Work, *, force: bool) -> tuple[list[int], bool]:
    """The shards that are missing from a store that is begun now or was before, and whether it is complete."""
    if force:
        if (work.store / DATASET_FILE).exists():
            remove(*(item for item in work.store.iterdir() if item.name != ".lock"))
        else:
            require_only(work.store, (), of="a store")
    if begin_store(work.store, work.spec, work.sources).complete:
        return [], True
    missing = sorted(set(range(work.spec.shard_count)) - finished_shards(work.store))
    drop_unfinished(work, missing)
    return missing, False


def _make(
    work: Work, missing: list[int], engine: str, processes: Processes, *, ray_address: str | None, progress: Progress
) -> int:
    """Make what is missing and assemble the store; returns the number of its images."""
    with stop_requests() as stop:

        def heard(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
            stop.leave()
            progress(title, done, total, values)

        if engine == "ray":
            make_on_ray(work, missing, address=ray_address, stop=stop, progress=heard)
        else:
            make_here(work, missing, processes=processes, stop=stop, progress=heard)
        if not processes.is_rank_zero:
            return wait_until_finished(work, stop)
        count = finish_store(work.store, spec=work.spec, progress=heard)
        shutil.rmtree(work.working, ignore_errors=True)
    return count
