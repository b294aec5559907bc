"""One synthesis as any process can take part in it: the codes of the sources, then one shard or another."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import ReidModel, TrainedGenerator, load_generator, load_reid
from dgaug.progress import Progress, silent
from dgaug.store.aside import sync_folder
from dgaug.store.codes import open_codes
from dgaug.store.schema import CODE_FOLDER, DATASET_FILE, StoreSpec, shard_path
from dgaug.store.shards import PictureBatch, write_shard
from dgaug.store.sources import Sources
from dgaug.synthesis.codes import make_codes
from dgaug.synthesis.decoding import PairDecoder, finished_batches
from dgaug.synthesis.pairs import Pairs

ENCODING = "encoding-"


@dataclass(frozen=True)
class Networks:
    """The generator and, where there are labels, the teacher, in eval mode on this process's device."""

    generator: TrainedGenerator
    teacher: ReidModel | None


@dataclass(frozen=True)
class Work:
    """What to make of what, small and picklable: any process of any machine that sees the same folders can do it.

    Attributes:
        store, checkpoint, teacher, data: absolute paths; teacher None: no labels.
        sources, pairs, spec: the donors, which of them meet, and the settings of the store.
        threads: CPU threads of each process that works on it; on the CPU they decide the last bits.
    """

    store: Path
    checkpoint: Path
    teacher: Path | None
    data: Path
    sources: Sources
    pairs: Pairs
    spec: StoreSpec
    threads: int

    @property
    def working(self) -> Path:
        """The folder of what is not finished; gone once the store is."""
        return self.store / "working"

    @property
    def codes(self) -> Path:
        """The folder of the codes: there means complete; in a store of codes they are what it is for."""
        return self.store / CODE_FOLDER if self.spec.virtual else self.working / "codes"

    def used_sources(self) -> NDArray[np.int64]:
        """Rows whose codes the pairs need; where there are more pairs than sources, all of them."""
        count = len(self.sources)
        if self.pairs.count >= count:
            return np.arange(count)
        return np.unique(np.concatenate(self.pairs.slice(0, self.pairs.count))).astype(np.int64)


def load_networks(checkpoint: Path, teacher: Path | None) -> Networks:
    """The networks of these files; a process reads them once, and again when a file has changed."""
    return _read_networks(checkpoint, teacher, tuple(_stamp(path) for path in (checkpoint, teacher) if path))


def forget_networks() -> None:
    """Free the memory of the networks that this process has read."""
    _read_networks.cache_clear()


def _stamp(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_mtime_ns, path.stat().st_ino) if path.is_file() else None


@lru_cache(maxsize=1)
def _read_networks(checkpoint: Path, teacher: Path | None, _stamps: tuple[tuple[int, int] | None, ...]) -> Networks:
    device = default_device()
    model = load_generator(checkpoint)
    model.generator.to(device)
    model.appearance.to(device)
    judge = None if teacher is None else load_reid(teacher)
    if judge is not None:
        judge.network.to(device)
    return Networks(model, judge)


def ensure_codes(work: Work, progress: Progress = silent) -> None:
    """Encode the sources that the pairs need, unless that is done.

    Raises:
        DgaugError: this process does not see the same data, run and store, or has another version.
    """
    _require_same(work, work.data)
    if work.codes.is_dir():
        return
    torch.set_num_threads(work.threads)
    folder = next(work.working.glob(f"{ENCODING}*"), None) or Path(tempfile.mkdtemp(prefix=ENCODING, dir=work.working))
    make_codes(
        folder,
        [work.data / path for path in work.sources.path],
        networks_of(work).generator,
        sources=work.used_sources(),
        micro_batch=work.spec.micro_batch,
        progress=progress,
    )
    folder.rename(work.codes)


def drop_unfinished(work: Work) -> None:
    """Make room for a start: remove what killed workers left behind, except whole files of codes.

    A worker of an earlier start that still runs finds its folder gone, and ends.
    """
    work.working.mkdir(exist_ok=True)
    for item in [item for item in work.working.iterdir() if item != work.codes]:
        if item.name.startswith(ENCODING):
            mine = item.rename(work.working / f"{ENCODING}{uuid4().hex}")
            for part in mine.glob("*.part"):
                part.unlink()
        else:
            shutil.rmtree(item, ignore_errors=True)


def make_shard(work: Work, number: int, on_batch: Callable[[int], None] | None = None) -> None:
    """Make one shard, whole or not at all; its bytes depend on nothing but the work and its number.

    `on_batch(done)` hears how many of the shard's pairs are done, and stops the shard by raising.

    Raises:
        DgaugError: this process does not see the same data, run and store, or has another version.
        OSError: the disk is full.
    """
    path = shard_path(work.store, number)
    if path.is_file():
        return
    _require_same(work, work.codes)
    torch.set_num_threads(work.threads)
    with _apart(work) as folder:
        batches = _heard(_batches(work, number), work, number, on_batch)
        write_shard(folder, number, batches, spec=work.spec, sources=work.sources)
        # From a name of its own: two processes that make the same shard, one of them left behind by a start that was
        # killed, must not write into one file.
        os.replace(shard_path(folder, number), path)
    sync_folder(path.parent)


def _batches(work: Work, number: int) -> Iterator[PictureBatch]:
    networks, spec = networks_of(work), work.spec
    model = networks.generator
    codes = open_codes(sorted(work.codes.glob("*.h5")))
    teacher = networks.teacher.network if networks.teacher else None
    return finished_batches(
        PairDecoder(codes, model.generator.decoder, teacher, spec.micro_batch, spec.precision),
        *work.pairs.slice(*spec.shard_range(number)),
        codec=spec.codec,
        quality=spec.quality,
        least=spec.min_confidence,
    )


def _heard(
    batches: Iterator[PictureBatch], work: Work, number: int, on_batch: Callable[[int], None] | None
) -> Iterator[PictureBatch]:
    start, stop = work.spec.shard_range(number)
    done = 0
    for batch in batches:
        yield batch
        done = min(done + work.spec.micro_batch, stop - start)
        if on_batch is not None:
            on_batch(done)


@contextmanager
def _apart(work: Work) -> Iterator[Path]:
    """A folder that no other process writes into, beside the store's files so that a rename moves them."""
    folder = Path(tempfile.mkdtemp(dir=work.working))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def networks_of(work: Work) -> Networks:
    """The networks of a work; DgaugError where their files are others than those it was planned with."""
    networks = load_networks(work.checkpoint, work.teacher)
    for path, expected, found in (
        (work.checkpoint, work.spec.generator_sha256, networks.generator.sha256),
        (work.teacher, work.spec.teacher_sha256, networks.teacher.sha256 if networks.teacher else ""),
    ):
        if expected != found:
            raise DgaugError(
                f"expected {path} on {platform.node()} to be the file that this synthesis was started with (sha256 "
                f"{expected[:12]}), found another ({found[:12]}); wait until training has ended, or give a numbered "
                "checkpoint with --checkpoint"
            )
    return networks


def _require_same(work: Work, needed: Path) -> None:
    for path in (work.store / DATASET_FILE, work.checkpoint, work.teacher, needed):
        if path is not None and not path.exists():
            raise DgaugError(
                f"expected {path} on {platform.node()}, found nothing; data, run and store must be in folders that "
                "every machine sees under the same path"
            )
    version = metadata.version("dgaug")
    if version != work.spec.dgaug_version:
        raise DgaugError(
            f"expected dgaug {work.spec.dgaug_version} on {platform.node()}, found {version}; install the same version"
        )
