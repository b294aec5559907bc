"""The codec `codes`: the N x N store whose pictures are drawn when they are asked for.

Codes are encoded once, the decoder is put beside them, and the pairs are only listed, so that N x N costs 2 N passes
of the encoders. Labels are the exception: a teacher must see each picture, so a store with labels decodes all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgaug.models.checkpoints import ReidModel, TrainedGenerator
from dgaug.progress import Progress
from dgaug.store.assemble import finish_store
from dgaug.store.generator import write_decoder
from dgaug.store.index import read_state
from dgaug.store.schema import CODE_FOLDER, GENERATOR_FILE, StoreSpec
from dgaug.store.shards import PictureBatch, finished_shards, write_shard
from dgaug.store.sources import Sources
from dgaug.synthesis.codes import make_codes
from dgaug.synthesis.decoding import PairDecoder, finished_batches
from dgaug.synthesis.pairs import Pairs

VIRTUAL_MICRO_BATCH = 8
"""Pictures that a reader decodes at a time: few, because it may want a single one."""
_LISTED = 1 << 16


def write_virtual_store(
    store: Path,
    *,
    spec: StoreSpec,
    sources: Sources,
    pairs: Pairs,
    paths: Sequence[Path],
    used: NDArray[np.int64],
    model: TrainedGenerator,
    teacher: ReidModel | None,
    encoding_batch: int,
    progress: Progress,
) -> int:
    """Write codes, decoder and pairs into a store that was begun; returns the number of pairs.

    A complete store stays as it is, and so does what an earlier call left whole. `used` are the rows of the sources
    that the pairs name; `teacher` is asked only where `spec.labels` wants labels stored. What `progress` raises (a
    stop) leaves whole files behind.

    Raises:
        DgaugError: a code is not finite. OSError: the disk is full.
    """
    state = read_state(store)
    if state is not None and state.complete:
        return state.count
    folder = store / CODE_FOLDER
    codes = make_codes(folder, paths, model, sources=used, micro_batch=encoding_batch, progress=progress)
    write_decoder(store / GENERATOR_FILE, model)
    decoder = None
    if spec.labels != "none" and teacher is not None:
        network = model.generator.decoder
        decoder = PairDecoder(codes, network, teacher.network, spec.micro_batch, spec.precision)
    for number in sorted(set(range(spec.shard_count)) - finished_shards(store)):
        batches = _batches(pairs, spec, number, decoder=decoder, progress=progress)
        write_shard(store, number, batches, spec=spec, sources=sources)
    return finish_store(store, on_progress=lambda done, total: progress("assembling", done, total))


def _batches(
    pairs: Pairs, spec: StoreSpec, number: int, *, decoder: PairDecoder | None, progress: Progress
) -> Iterator[PictureBatch]:
    done, stop = spec.shard_range(number)
    title = "listing pairs" if decoder is None else "labelling pairs"
    batches = _listed(pairs, done, stop) if decoder is None else _labelled(pairs, spec, number, decoder)
    for batch in batches:
        yield batch
        done = min(done + (len(batch) if decoder is None else spec.micro_batch), stop)
        progress(title, done, spec.planned)


def _listed(pairs: Pairs, start: int, stop: int) -> Iterator[PictureBatch]:
    for first in range(start, stop, _LISTED):
        appearance, structure = pairs.slice(first, min(first + _LISTED, stop))
        yield PictureBatch([], appearance, structure)


def _labelled(pairs: Pairs, spec: StoreSpec, number: int, decoder: PairDecoder) -> Iterator[PictureBatch]:
    return finished_batches(
        decoder,
        *pairs.slice(*spec.shard_range(number)),
        codec=spec.codec,
        quality=spec.quality,
        least=spec.min_confidence,
    )
