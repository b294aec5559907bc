"""`dgaug synthesize`: codes once, then shard after shard, each whole or absent."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.training import read_data
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.interrupts import StopRequest, stop_requests
from dgaug.models.checkpoints import ReidModel, TrainedGenerator, load_generator, load_reid
from dgaug.progress import Progress, silent
from dgaug.runs import find_run, locked
from dgaug.store.assemble import finish_store
from dgaug.store.codecs import encode
from dgaug.store.index import begin_store
from dgaug.store.schema import DATASET_FILE, StoreSpec, default_shard_size
from dgaug.store.shards import PictureBatch, finished_shards, write_shard
from dgaug.store.sources import Sources
from dgaug.synthesis.codes import Codes, drop_codes, encode_pictures, make_codes
from dgaug.synthesis.decoding import PairDecoder, finished_batches
from dgaug.synthesis.pairs import Pairs, parse_pairs

MICRO_BATCH = 32
JPEG_QUALITY = 90
_LABEL_BYTES = 42
_PAIR_BYTES = 20
_PROBE_BATCHES = 3


@dataclass(frozen=True)
class Plan:
    """What a synthesis will make: known before anything is written.

    Attributes:
        pairs: number of pictures.
        bytes: estimate for the whole store.
        seconds: estimate from a short probe on this machine.
        free: bytes free where the store will be.
    """

    pairs: int
    bytes: int
    seconds: float
    free: int


@dataclass(frozen=True)
class Synthesis:
    """What became of a call of `synthesize`.

    Attributes:
        store: the store folder.
        plan: the estimate.
        count: pictures in the store; 0 after a dry run.
        already_complete: the store was there, whole, with these settings.
    """

    store: Path
    plan: Plan
    count: int
    already_complete: bool


@dataclass(frozen=True)
class _Job:
    model: TrainedGenerator
    teacher: ReidModel | None
    paths: list[Path]
    sources: Sources
    pairs: Pairs
    spec: StoreSpec


@dataclass(frozen=True)
class _Origin:
    """Where generator, data and teacher come from, and where the store goes by default."""

    checkpoint: Path
    data: Path
    teacher: Path | None
    store: Path | None


def synthesize(
    run: str | Path = "latest",
    *,
    checkpoint: str | Path | None = None,
    data: str | Path | None = None,
    teacher: str | Path | None = None,
    pairs: str = "all",
    codec: str = "jpeg",
    quality: int = JPEG_QUALITY,
    labels_dense: bool = False,
    min_confidence: float = 0.0,
    shard_size: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    dry_run: bool = False,
    yes: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> Synthesis:
    """Write a store of generated pictures; goes on where an earlier call stopped.

    Args:
        run: the run whose generator, data and teacher are used, unless the next three say otherwise.
        checkpoint: a DG-Net checkpoint instead of a run's; then `data` is needed.
        data: the data set whose training pictures are the donors.
        teacher: a re-id checkpoint for the soft labels; `none` for no labels; None: the run's.
        pairs: `all`, `cross-identity`, `cross-camera`, `random:K`, `per-appearance:K`, `grid:AxB`, `csv:FILE`.
        codec: `jpeg`, `png` or `raw`.
        quality: JPEG quality, 1 to 100.
        labels_dense: store every class's probability instead of the ten most probable.
        min_confidence: leave out pictures whose most probable class stays under it.
        shard_size: pictures per shard.
        seed: of the pair designs that choose.
        out: the store; None: `store/` in the run.
        dry_run: estimate only; nothing is written.
        yes: go on although the estimate exceeds the free disk space.
        force: throw away the store that is there.

    Raises:
        DgaugError: wrong use or bad input.
        Interrupted: a signal arrived; finished shards stay.
    """
    parsed = parse_pairs(pairs)
    origin = _origin(run, checkpoint, data, teacher)
    store = Path(out) if out else origin.store
    if store is None:
        raise DgaugError("--checkpoint needs --out: there is no run folder to put the store in")
    model, labels = _networks(origin)
    content = read_data(origin.data, model.settings.data, progress=progress)
    sources = Sources.of(content.splits["train"])
    if labels is not None:
        labels.require(sources.class_name, model.settings.data.image_size, source=str(origin.data))
    elif min_confidence > 0:
        raise DgaugError("--min-confidence needs a teacher; leave --teacher none out")
    design = parsed.over(sources, seed=seed)
    spec = StoreSpec(
        pairs=design.text,
        planned=design.count,
        seed=seed,
        image_size=model.settings.data.image_size,
        codec=codec,
        quality=quality if codec == "jpeg" else 0,
        labels="none" if labels is None else "dense" if labels_dense else "top",
        min_confidence=min_confidence,
        shard_size=shard_size or default_shard_size(design.count, MICRO_BATCH),
        micro_batch=MICRO_BATCH,
        generator_sha256=model.sha256,
        teacher_sha256=labels.sha256 if labels else "",
        dgaug_version=metadata.version("dgaug"),
    )
    job = _Job(model, labels, [content.root / path for path in sources.path], sources, design, spec)
    plan = _plan(job, store)
    if dry_run:
        return Synthesis(store, plan, 0, already_complete=False)
    if plan.bytes > plan.free and not yes:
        raise DgaugError(
            f"{plan.pairs:,} pictures need about {plan.bytes / 1e9:,.1f} GB, {plan.free / 1e9:,.1f} GB are free at "
            f"{store}; choose fewer --pairs, another --out, or --yes to try"
        )
    with locked(store, what="store"):
        if force:
            _clear(store)
        return _write(job, store, plan, progress)


def _origin(
    run: str | Path, checkpoint: str | Path | None, data: str | Path | None, teacher: str | Path | None
) -> _Origin:
    if checkpoint is not None:
        if data is None:
            raise DgaugError("--checkpoint needs --data: the data set whose pictures are the donors")
        judge = None if teacher in (None, "none") else Path(str(teacher))
        return _Origin(Path(checkpoint), Path(data), judge, None)
    found = find_run(str(run))
    if not found.checkpoint.is_file():
        raise DgaugError(f"{found.folder} has no checkpoint; run dgaug train --resume --out {found.folder} first")
    judge = None if teacher == "none" else Path(teacher) if teacher else found.teacher
    if judge == found.teacher and not judge.is_file():
        raise DgaugError(f"{found.folder} has no teacher; give one with --teacher FILE, or --teacher none: no labels")
    return _Origin(found.checkpoint, Path(data) if data else found.data_root(), judge, found.store)


def _networks(origin: _Origin) -> tuple[TrainedGenerator, ReidModel | None]:
    device = default_device()
    model = load_generator(origin.checkpoint)
    model.generator.to(device)
    model.appearance.to(device)
    teacher = None if origin.teacher is None else load_reid(origin.teacher)
    if teacher is not None:
        teacher.network.to(device)
    return model, teacher


def _plan(job: _Job, store: Path) -> Plan:
    existing = store
    while not existing.exists():
        existing = existing.parent
    probe = _probe(job)
    labels = {"none": 0, "top": _LABEL_BYTES, "dense": 2 * len(job.sources.class_name)}[job.spec.labels]
    size = round(job.pairs.count * (probe.picture_bytes + labels + _PAIR_BYTES))
    seconds = probe.source_seconds * len(_used_sources(job)) + probe.picture_seconds * job.pairs.count
    return Plan(job.pairs.count, size, seconds, shutil.disk_usage(existing).free)


class _Probe(NamedTuple):
    """What one source costs to encode, and one picture to decode, label and compress."""

    source_seconds: float
    picture_seconds: float
    picture_bytes: float


@torch.no_grad()
def _probe(job: _Job) -> _Probe:
    """Costs measured on a few batches of the real networks and the first source picture."""
    pixels = to_pixels(open_picture(job.paths[0]), job.spec.image_size)
    batch = torch.from_numpy(np.repeat(pixels[None], MICRO_BATCH, axis=0))
    batch = batch.to(next(job.model.generator.parameters()).device)
    encode_pictures(job.model, batch)
    began = time.perf_counter()
    structure, adain = encode_pictures(job.model, batch)
    source_seconds = (time.perf_counter() - began) / MICRO_BATCH
    codes = Codes(
        np.arange(MICRO_BATCH), structure.cpu().numpy().astype(np.float16), adain.cpu().numpy().astype(np.float16)
    )
    decoder = _decoder(job, codes)
    rows = np.zeros(MICRO_BATCH, np.int32)
    decoder.draw(rows, rows)
    began, size = time.perf_counter(), 0
    for _ in range(_PROBE_BATCHES):
        pictures, _ = decoder.draw(rows, rows)
        size += sum(len(encode(picture, codec=job.spec.codec, quality=job.spec.quality)) for picture in pictures)
    count = _PROBE_BATCHES * MICRO_BATCH
    return _Probe(source_seconds, (time.perf_counter() - began) / count, size / count)


def _decoder(job: _Job, codes: Codes) -> PairDecoder:
    teacher = None if job.teacher is None else job.teacher.network
    return PairDecoder(codes, job.model.generator.decoder, teacher, MICRO_BATCH)


def _clear(store: Path) -> None:
    others = {item.name for item in store.iterdir()} - {".lock"}
    if others and DATASET_FILE not in others:
        raise DgaugError(f"{store} holds something else than a store; --force does not empty it, choose another --out")
    for item in store.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        elif item.name != ".lock":
            item.unlink()


def _write(job: _Job, store: Path, plan: Plan, progress: Progress) -> Synthesis:
    state = begin_store(store, job.spec, job.sources)
    if state.complete:
        return Synthesis(store, plan, state.count, already_complete=True)
    working = store / "codes"
    used = _used_sources(job)
    codes = make_codes(working, job.paths, job.model, sources=used, micro_batch=MICRO_BATCH, progress=progress)
    decoder = _decoder(job, codes)
    with stop_requests() as stop:
        for number in sorted(set(range(job.spec.shard_count)) - finished_shards(store)):
            batches = _shard(job, decoder, number, stop, progress)
            write_shard(store, number, batches, spec=job.spec, sources=job.sources)
        stop.leave()
    count = finish_store(store, on_progress=lambda done, total: progress("assembling", done, total))
    drop_codes(working)
    return Synthesis(store, plan, count, already_complete=False)


def _used_sources(job: _Job) -> NDArray[np.int64]:
    """Rows whose codes the pairs need; where there are more pairs than sources, all of them."""
    count = len(job.sources)
    if job.pairs.count >= count:
        return np.arange(count)
    return np.unique(np.concatenate(job.pairs.slice(0, job.pairs.count))).astype(np.int64)


def _shard(
    job: _Job, decoder: PairDecoder, number: int, stop: StopRequest, progress: Progress
) -> Iterator[PictureBatch]:
    start, end = job.spec.shard_range(number)
    appearance, structure = job.pairs.slice(start, end)
    done = start
    for batch in finished_batches(
        decoder,
        appearance,
        structure,
        codec=job.spec.codec,
        quality=job.spec.quality,
        least=job.spec.min_confidence,
    ):
        stop.leave()
        yield batch
        done = min(done + MICRO_BATCH, end)
        progress("synthesis", done, job.spec.planned)
