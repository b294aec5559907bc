"""What a synthesis will cost: known before anything is written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dgaug.data.images import open_image, to_pixels
from dgaug.store.codes import Codes
from dgaug.store.index import read_state
from dgaug.store.micro_batch import micro_batch_on
from dgaug.store.shard_writer import finished_shards
from dgaug.store.spec import StoreSpec
from dgaug.synthesis.decoding import PairDecoder, finished_batches
from dgaug.synthesis.encoding import encode_images
from dgaug.synthesis.tasks import Networks, Work
from dgaug.synthesis.threads import side_by_side

_TOP_LABEL_BYTES = 42
_PAIR_BYTES = 32
"""Two rows in the shard; place and checksum of the image there and in `dataset.h5`. Packed in a store of codes."""
_PROBE_BATCHES = 3
_PROBED_ON_CPU = 4


@dataclass(frozen=True)
class Plan:
    """What a synthesis will make.

    Attributes:
        pairs: number of images.
        bytes: estimate for the whole store.
        to_write: bytes still to be written at once: the store without the shards that are there, and the codes, which
            go once the store is complete.
        seconds: estimate for what is still to be made, from a short probe in this process.
        free: bytes free where the store will be.
    """

    pairs: int
    bytes: int
    to_write: int
    seconds: float
    free: int


def plan_of(work: Work, networks: Networks, *, afresh: bool) -> Plan:
    """Estimate size and time of a synthesis from a probe; `afresh`: what the store holds will be thrown away."""
    spec = work.spec
    probe = _probe(work, networks)
    labels = {"none": 0, "top": _TOP_LABEL_BYTES, "dense": 2 * len(work.sources.class_name)}[spec.labels]
    each = labels if spec.virtual else probe.image_bytes + labels + _PAIR_BYTES
    missing = sorted(set(range(spec.shard_count)) - (set() if afresh else shards_there(work.store, spec)))
    to_make = _new_pairs(work, missing)
    pairs = _new_pairs(work, range(spec.shard_count))
    files = work.code_files(missing)
    sources = sum(len(rows) for path, rows in files.items() if afresh or not path.is_file())
    drawn = 0 if spec.virtual and spec.labels == "none" else to_make
    return Plan(
        pairs=pairs,
        bytes=round(pairs * each) + (sum(map(len, files.values())) * probe.code_bytes if spec.virtual else 0),
        to_write=round(to_make * each) + sources * probe.code_bytes,
        seconds=probe.source_seconds * sources + probe.image_seconds * drawn,
        free=_free(work.store) + (_size(work.store) if afresh else 0),
    )


def shards_there(store: Path, spec: StoreSpec) -> set[int]:
    """The shards that earlier calls with these settings left."""
    state = read_state(store)
    if state is None or not spec.extends(state.spec):
        return set()
    return finished_shards(store) & set(range(spec.shard_count))


def _new_pairs(work: Work, numbers: Iterable[int]) -> int:
    """About how many pairs some shards have; exact where no part was added."""
    covered = [0] * len(work.spec.parts)
    for part, start, stop in map(work.spec.place, numbers):
        covered[part] += stop - start
    return round(sum(count * work.share_of_new(part) for part, count in enumerate(covered) if count))


def _free(store: Path) -> int:
    existing = store
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def _size(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) if store.is_dir() else 0


class _Probe(NamedTuple):
    """What one source costs to encode, and one image to decode, label and compress."""

    source_seconds: float
    code_bytes: int
    image_seconds: float
    image_bytes: float


@torch.no_grad()
def _probe(work: Work, networks: Networks) -> _Probe:
    """Costs measured on a few batches of the real networks and the first source image."""
    spec, model = work.spec, networks.generator
    device = next(model.generator.parameters()).device
    # A CPU is as fast with a few images at a time, and the probe must not cost what a small job does.
    count = micro_batch_on(device, spec.micro_batch)
    count = min(_PROBED_ON_CPU, count) if device.type == "cpu" else count
    pixels = to_pixels(open_image(work.data / work.sources.path[0]), spec.image_size)
    batch = torch.from_numpy(np.repeat(pixels[None], count, axis=0)).to(device)
    encode_images(model, batch)
    began = time.perf_counter()
    structure, adain = (code.cpu().numpy().astype(np.float16) for code in encode_images(model, batch))
    source_seconds = (time.perf_counter() - began) / count
    teacher = networks.teacher.network if networks.teacher else None
    codes = Codes(np.arange(count), structure, adain)
    decoder = PairDecoder(codes, model.generator.decoder, teacher, count, spec.precision)
    rows = np.zeros(count * _PROBE_BATCHES * side_by_side(device, work.threads), np.int32)
    decoder.generate(rows[:count], rows[:count])
    began, size = time.perf_counter(), 0
    drawn = finished_batches(decoder, rows, rows, codec=spec.codec, quality=spec.quality, least=0, threads=work.threads)
    for finished in drawn:
        size += sum(map(len, finished.images))
    code_bytes = (structure.nbytes + adain.nbytes) // count
    return _Probe(source_seconds, code_bytes, (time.perf_counter() - began) / len(rows), size / len(rows))
