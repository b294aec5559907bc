"""Images and soft labels of pairs on demand: codes to pixels, in padded micro-batches of one size.

The decoder lies beside the codes: weights, and what is needed to build it, in one file that runs no code.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dgaug.data.normalisation import denormalise, normalise
from dgaug.errors import DgaugError
from dgaug.files import whole
from dgaug.models.checkpoints import TrainedGenerator
from dgaug.models.decoder import Decoder
from dgaug.models.half_weights import with_half_weights
from dgaug.models.reid import soft_labels
from dgaug.store.codes import Codes, Half, Parts, Rows, crc32_of, open_codes
from dgaug.store.micro_batch import on_demand
from dgaug.store.resident_codes import ResidentCodes, codes_on
from dgaug.store.safe_hdf5 import own, reading
from dgaug.store.schema import CODE_COLUMNS, DATASET_FILE, GENERATOR_FILE
from dgaug.store.spec import StoreSpec
from dgaug.transfer import upload

Decode = Callable[[Tensor, Tensor], Tensor]
DECODER_FORMAT, DECODER_VERSION = "dgaug.decoder", 1
DECODER_KEY = "dgaug"


@dataclass(frozen=True)
class Mixed:
    """Appearances [B] that are mixed in: a pair's own counts `share` float32 [B] (0..1), this one the rest."""

    appearance: Rows
    share: NDArray[np.float32]


@torch.no_grad()
def generate_padded(
    decode: Decode,
    codes: Codes | ResidentCodes,
    appearance: Rows,
    structure: Rows,
    *,
    micro_batch: int,
    device: torch.device,
    precision: str = "fp32",
    mixed: Mixed | None = None,
) -> Tensor:
    """Images uint8 [micro_batch, H, W, 3] of at most that many pairs; rows beyond them are padding.

    With one size of batch, an image depends on its pair alone. In every `precision` but fp32 the decoder
    computes in mixed precision; its weights may then be those of `with_half_weights`.
    """
    padded = [_padded(rows, micro_batch) for rows in (appearance, structure)]
    structure_codes, adain = (upload(part, device) for part in codes.rows(padded[0], padded[1]))
    if mixed is not None:
        _, other = (upload(part, device) for part in codes.rows(_padded(mixed.appearance, micro_batch), padded[1]))
        share = upload(_padded(mixed.share, micro_batch), device).view(-1, *[1] * (adain.ndim - 1))
        adain = share * adain.float() + (1 - share) * other.float()
    half = precision != "fp32"
    # In the layout of the decoder's convolutions, or every addition of a residual would mix two layouts.
    maps = structure_codes.to(torch.bfloat16 if half else torch.float32, memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        images = decode(maps, adain.float())
    return denormalise(images)


def _padded(rows: NDArray[Any], count: int) -> NDArray[Any]:
    return np.concatenate([rows, np.repeat(rows[:1], count - len(rows))])


class PairGenerator:
    """Draws the pairs of a finished store of codes, in one process and on one device.

    Each code is checked when it is first read, so that damage is a DgaugError and never a wrong image.
    """

    def __init__(self, store: Path, code_files: list[str], *, device: torch.device, micro_batch: int) -> None:
        self._store = store
        self._device = device
        self._micro_batch = micro_batch
        decoder: StoredDecoder = read_decoder(store / GENERATOR_FILE, device)
        self._codes = open_codes([store / name for name in code_files])
        with reading(store / DATASET_FILE) as hdf5:
            self._precision = StoreSpec.read(hdf5).precision
            crc32 = [own(hdf5, f"{name}_crc32")[:] for name in CODE_COLUMNS]
        self._structure = _Checks(crc32[0], np.zeros(len(crc32[0]), np.bool_))
        self._adain = _Checks(crc32[1], np.zeros(len(crc32[1]), np.bool_))
        self._require_fitting(decoder)
        half = self._precision != "fp32"
        self._decode = replace(decoder, network=with_half_weights(decoder.network)) if half else decoder
        self._pair_codes = codes_on(self._codes, device)

    def generate(self, appearance: Rows, structure: Rows, mixed: Mixed | None = None) -> Tensor:
        """Images uint8 [B, H, W, 3] of pairs, on the device; DgaugError where a code is damaged."""
        if mixed is not None:
            self._check(self._codes.adain, self._adain, self._codes.places(mixed.appearance))
        self._check(self._codes.structure, self._structure, self._codes.places(structure))
        self._check(self._codes.adain, self._adain, self._codes.places(appearance))
        size = on_demand(self._device, self._micro_batch, asked=len(appearance), image_size=self._decode.image_size)
        drawn = []
        for start in range(0, len(appearance), size):
            rows = slice(start, start + size)
            pixels = generate_padded(
                self._decode,
                self._pair_codes,
                appearance[rows],
                structure[rows],
                micro_batch=size,
                device=self._device,
                precision=self._precision,
                mixed=None if mixed is None else Mixed(mixed.appearance[rows], mixed.share[rows]),
            )
            drawn.append(pixels[: len(appearance[rows])])
        return torch.cat(drawn)

    def _check(self, table: Half | Parts, checks: _Checks, places: NDArray[np.int64]) -> None:
        new = np.unique(places[~checks.done[places]])
        for place in new:
            if crc32_of(table[place[None]])[0] != checks.crc32[place]:
                raise DgaugError(
                    f"expected the codes of source {self._codes.sources[place]} in {self._store} as they were written, "
                    "found damaged ones (crc32); `dgaug verify` names the file: delete it and run the same "
                    "`dgaug synthesize` command again"
                )
        checks.done[new] = True

    def _require_fitting(self, decoder: StoredDecoder) -> None:
        channels, height, width = self._codes.structure.shape[1:]
        expected = (decoder.channels, *(side // 4 for side in decoder.image_size))
        if (channels, height, width) != expected or self._codes.adain.shape[1:] != (4, 2, 2, channels):
            raise DgaugError(
                f"expected codes of {expected} for the decoder in {self._store / GENERATOR_FILE}, found "
                f"{(channels, height, width)}; run the same `dgaug synthesize` command with --force"
            )


@dataclass(frozen=True)
class _Checks:
    """The crc32 of each code [R], and which of them this process has found right."""

    crc32: NDArray[np.uint32]
    done: NDArray[np.bool_]


def label_images(teacher: nn.Module, pixels: Tensor, *, micro_batch: int) -> Tensor:
    """Soft labels [B, C] of images uint8 [B, H, W, 3], in padded micro-batches; all on one device."""
    names = []
    for start in range(0, len(pixels), micro_batch):
        part = pixels[start : start + micro_batch]
        padded = torch.cat([part, part[:1].expand(micro_batch - len(part), *part.shape[1:])])
        names.append(soft_labels(teacher, normalise(padded))[: len(part)])
    return torch.cat(names)


@dataclass(frozen=True)
class StoredDecoder:
    """A decoder in eval mode and its run's arithmetic; `channels` are those of the structure codes it takes."""

    network: Decoder
    channels: int
    image_size: tuple[int, int]

    def __call__(self, structure: torch.Tensor, adain: torch.Tensor) -> torch.Tensor:
        """Images [B, 3, H, W] in the ImageNet-normalised space."""
        images: torch.Tensor = self.network(structure, adain)
        return images


def write_decoder(path: Path, model: TrainedGenerator) -> None:
    """Write the decoder of a generator, the same bytes for the same weights; OSError where the disk is full."""
    about = {
        "format": DECODER_FORMAT,
        "version": DECODER_VERSION,
        "image_size": list(model.settings.data.image_size),
        "channels": model.generator.structure_encoder.channels,
        "arithmetic": model.settings.behaviour.arithmetic,
    }
    state = model.generator.decoder.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # One text, because safetensors writes several in any order.
    content = save(tensors, metadata={DECODER_KEY: json.dumps(about, sort_keys=True)})
    with whole(path) as aside:
        aside.write_bytes(content)


def read_decoder(path: Path, device: torch.device) -> StoredDecoder:
    """The decoder in a file that `write_decoder` made; DgaugError where it is damaged or newer than this version."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[DECODER_KEY])
            names = file.keys()
            state = {name: file.get_tensor(name) for name in names}
        if about["format"] != DECODER_FORMAT or about["version"] > DECODER_VERSION:
            raise ValueError(f"it holds {about['format']} version {about['version']}")
        network = Decoder(about["channels"])
        network.load_state_dict(state)
        network.arithmetic = str(about["arithmetic"])
        height, width = map(int, about["image_size"])
    except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError) as problem:
        raise DgaugError(
            f"expected the decoder of the store in {path}, found none that can be read: {problem}; "
            "delete it and run the same `dgaug synthesize` command again"
        ) from problem
    network.to(device).eval().requires_grad_(False)
    return StoredDecoder(network, int(about["channels"]), (height, width))
