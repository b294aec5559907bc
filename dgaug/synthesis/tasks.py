"""One synthesis as any process can take part in it: the codes of the sources, then one shard or another."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.depth import FULL, use_levels
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import ReidModel, TrainedGenerator, load_generator, load_reid
from dgaug.progress import Progress, silent
from dgaug.store.codes import CODE_ROWS, Rows, holds_codes, open_codes
from dgaug.store.micro_batch import micro_batch_on
from dgaug.store.safe_hdf5 import sync_folder
from dgaug.store.schema import CODE_FOLDER, DATASET_FILE, GENERATOR_FILE, code_path, shard_path
from dgaug.store.shard_writer import ImageBatch, write_shard
from dgaug.store.sources import Sources
from dgaug.store.spec import StoreSpec
from dgaug.store.virtual import write_decoder
from dgaug.synthesis.decoding import PairDecoder, finished_batches
from dgaug.synthesis.encoding import make_codes
from dgaug.synthesis.pairs import Pairs
from dgaug.synthesis.threads import fit_for_one_thread

LISTED_AT_ONCE = 1 << 16
_SAMPLED_PAIRS = 1 << 20


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
        sources, designs, spec: the donors, which of them meet (a design for each part), and the settings of the store.
        threads: micro-batches that a process computes at a time on a CPU; no byte depends on them.
        levels: of the 16-bit images among the donors, see `IdentityData`.
    """

    store: Path
    checkpoint: Path
    teacher: Path | None
    data: Path
    sources: Sources
    designs: tuple[Pairs, ...]
    spec: StoreSpec
    threads: int
    levels: tuple[int, int] | None = None

    @property
    def working(self) -> Path:
        """The folder of what is not finished; gone once the store is."""
        return self.store / "working"

    @property
    def codes(self) -> Path:
        """The folder of the codes; in a store of codes they are what it is for."""
        return self.store / CODE_FOLDER if self.spec.virtual else self.working / "codes"

    def code_files(self, missing: Sequence[int]) -> dict[Path, NDArray[np.int64]]:
        """The files of codes that some missing shards need (in a store of codes, all), and the sources in each.

        The sources that a part is the first to use have files of their own, so that nothing is written again when a
        part is added.
        """
        files: dict[Path, NDArray[np.int64]] = {}
        known = np.empty(0, np.int64)
        parts = {self.spec.place(number).part for number in missing}
        for part in range(len(self.designs)) if self.spec.virtual else sorted(parts):
            new = np.setdiff1d(self._used_by(part), known)
            known = np.union1d(known, new)
            for start in range(0, len(new), CODE_ROWS):
                files[code_path(self.codes, len(files))] = new[start : start + CODE_ROWS]
        return files

    def codes_are_there(self, missing: Sequence[int]) -> bool:
        """Whether every code that some missing shards need is on disk."""
        return all(path.is_file() for path in self.code_files(missing))

    def pairs_of(self, number: int) -> tuple[Rows, Rows]:
        """Appearance and structure rows, int32 [M] each, of a shard; pairs that an earlier part has are left out."""
        part, start, stop = self.spec.place(number)
        appearance, structure = self.designs[part].slice(start, stop)
        new = self._new(part, appearance, structure)
        return appearance[new], structure[new]

    def share_of_new(self, part: int) -> float:
        """Which share of a part's pairs no earlier part has, from a sample of them."""
        return float(self._new(part, *self.designs[part].sample(_SAMPLED_PAIRS)).mean()) if part else 1.0

    def _new(self, part: int, appearance: Rows, structure: Rows) -> NDArray[np.bool_]:
        new = np.ones(len(appearance), np.bool_)
        for earlier in self.designs[:part]:
            new &= ~earlier.holds(appearance, structure)
        return new

    def _used_by(self, part: int) -> NDArray[np.int64]:
        """Rows of the sources that the pairs of a part name; where there are more pairs than sources, all of them."""
        design, count = self.designs[part], len(self.sources)
        if design.count >= count:
            return np.arange(count)
        return np.unique(np.concatenate(design.slice(0, design.count))).astype(np.int64)


def load_networks(checkpoint: Path, teacher: Path | None) -> Networks:
    """The networks of these files; a process reads them once, and again when a file has changed."""
    stamps = tuple(_stamp(path) for path in (checkpoint, teacher) if path)
    return _read_networks(checkpoint, teacher, default_device(), stamps)


def forget_networks() -> None:
    """Free the memory of the networks and codes that this process has read."""
    _open_decoder.cache_clear()
    _read_networks.cache_clear()


def _stamp(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_mtime_ns, path.stat().st_ino) if path.is_file() else None


@lru_cache(maxsize=1)
def _read_networks(
    checkpoint: Path, teacher: Path | None, device: torch.device, _stamps: tuple[tuple[int, int] | None, ...]
) -> Networks:
    model = load_generator(checkpoint).to(device)
    judge = None if teacher is None else load_reid(teacher)
    if judge is not None:
        judge.network.to(device)
        if device.type == "cpu":
            fit_for_one_thread(judge.network)
    return Networks(model, judge)


def ensure_codes(work: Work, missing: Sequence[int], progress: Progress = silent) -> None:
    """Encode the sources that the pairs of some missing shards need, unless that is done.

    Raises:
        DgaugError: this process does not see the same data, run and store, or has another version.
        OSError: the disk is full.
    """
    _require_same(work, work.data)
    use_levels(work.data, work.levels or FULL)
    files = {path: rows for path, rows in work.code_files(missing).items() if not path.is_file()}
    if files:
        with _same_kernels():
            _encode(work, files, progress)
    if work.spec.virtual and not (work.store / GENERATOR_FILE).is_file():
        write_decoder(work.store / GENERATOR_FILE, networks_of(work).generator)


def _encode(work: Work, files: dict[Path, NDArray[np.int64]], progress: Progress) -> None:
    images = [work.data / path for path in work.sources.path]
    done, total = 0, sum(map(len, files.values()))

    def tell(of_file: int) -> None:
        progress("encoding", done + of_file, total)

    work.codes.mkdir(exist_ok=True)
    for path, rows in files.items():
        with _apart(work) as folder:
            make_codes(
                folder / path.name,
                rows,
                images,
                networks_of(work).generator,
                micro_batch=micro_batch_on(default_device(), work.spec.micro_batch),
                threads=work.threads,
                on_batch=tell,
            )
            os.replace(folder / path.name, path)
        done += len(rows)
    sync_folder(work.codes)


def drop_unfinished(work: Work, missing: Sequence[int]) -> None:
    """Make room for a start: remove what killed workers left behind, and codes of other sources.

    A worker of an earlier start that still runs finds its folder gone, and ends.
    """
    work.working.mkdir(exist_ok=True)
    for item in [item for item in work.working.iterdir() if item != work.codes]:
        shutil.rmtree(item, ignore_errors=True)
    expected = work.code_files(missing)
    for path in work.codes.glob("*.h5"):
        rows = expected.get(path)
        if rows is None or not holds_codes(path, rows, generator_sha256=work.spec.generator_sha256):
            path.unlink()


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
    with _apart(work) as folder, _same_kernels():
        batches = _heard(_batches(work, number), work, number, on_batch)
        write_shard(folder, number, batches, spec=work.spec, sources=work.sources)
        # From a name of its own: two processes that make the same shard, one of them left behind by a start that was
        # killed, must not write into one file.
        os.replace(shard_path(folder, number), path)
    sync_folder(path.parent)


def _batches(work: Work, number: int) -> Iterator[ImageBatch]:
    spec, pairs = work.spec, work.pairs_of(number)
    if spec.virtual and spec.labels == "none":
        return _listed(*pairs)
    return finished_batches(
        _decoder_of(work),
        *pairs,
        codec=spec.codec,
        quality=spec.quality,
        least=spec.min_confidence,
        threads=work.threads,
    )


def _decoder_of(work: Work) -> PairDecoder:
    """The decoder of a work, with its codes: on a GPU they go there once for all shards that a process makes."""
    networks_of(work)  # or an error where a file has changed
    files = tuple(sorted(work.codes.glob("*.h5")))
    inputs = [path for path in (work.checkpoint, work.teacher, *files) if path]
    spec = work.spec
    return _open_decoder(
        work.checkpoint, work.teacher, files, spec.micro_batch, spec.precision, tuple(map(_stamp, inputs))
    )


@lru_cache(maxsize=1)
def _open_decoder(
    checkpoint: Path,
    teacher: Path | None,
    files: tuple[Path, ...],
    micro_batch: int,
    precision: str,
    _stamps: tuple[tuple[int, int] | None, ...],
) -> PairDecoder:
    networks = load_networks(checkpoint, teacher)
    decoder, judge = networks.generator.generator.decoder, networks.teacher.network if networks.teacher else None
    size = micro_batch_on(next(decoder.parameters()).device, micro_batch)
    return PairDecoder(open_codes(files), decoder, judge, size, precision)


def _listed(appearance: Rows, structure: Rows) -> Iterator[ImageBatch]:
    """The pairs of a store of codes without labels, for which nothing is drawn."""
    for start in range(0, len(appearance), LISTED_AT_ONCE):
        rows = slice(start, start + LISTED_AT_ONCE)
        yield ImageBatch([], appearance[rows], structure[rows])


def _heard(
    batches: Iterator[ImageBatch], work: Work, number: int, on_batch: Callable[[int], None] | None
) -> Iterator[ImageBatch]:
    covered = work.spec.pairs_in([number])
    generated_at_once = micro_batch_on(default_device(), work.spec.micro_batch)
    done = 0
    for batch in batches:
        yield batch
        done = min(done + max(len(batch), generated_at_once), covered)
        if on_batch is not None:
            on_batch(done)


@contextmanager
def _same_kernels() -> Iterator[None]:
    """Have cuDNN choose kernels by shape alone: the fastest that it measures may have other bits each time."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


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
    for path, expected, actual in (
        (work.checkpoint, work.spec.generator_sha256, networks.generator.sha256),
        (work.teacher, work.spec.teacher_sha256, networks.teacher.sha256 if networks.teacher else ""),
    ):
        if expected != actual:
            raise DgaugError(
                f"expected {path} on {platform.node()} to be the file that this synthesis was started with (sha256 "
                f"{expected[:12]}), found another ({actual[:12]}); wait until training has ended, or give a numbered "
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
