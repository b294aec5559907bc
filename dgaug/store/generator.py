"""The decoder beside the codes: weights, and what is needed to build it, in one file that runs no code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dgaug.errors import DgaugError
from dgaug.files import whole
from dgaug.models.checkpoints import TrainedGenerator
from dgaug.models.decoder import Decoder

FORMAT, VERSION = "dgaug.decoder", 1
KEY = "dgaug"


@dataclass(frozen=True)
class StoredDecoder:
    """A decoder in eval mode and its run's arithmetic; `channels` are those of the structure codes it takes."""

    network: Decoder
    channels: int
    image_size: tuple[int, int]

    def __call__(self, structure: torch.Tensor, adain: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W] in the ImageNet-normalised space."""
        pictures: torch.Tensor = self.network(structure, adain)
        return pictures


def write_decoder(path: Path, model: TrainedGenerator) -> None:
    """Write the decoder of a generator, the same bytes for the same weights; OSError where the disk is full."""
    about = {
        "format": FORMAT,
        "version": VERSION,
        "image_size": list(model.settings.data.image_size),
        "channels": model.generator.structure_encoder.channels,
        "arithmetic": model.settings.behaviour.arithmetic,
    }
    state = model.generator.decoder.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    # One text, because safetensors writes several in any order.
    content = save(tensors, metadata={KEY: json.dumps(about, sort_keys=True)})
    with whole(path) as aside:
        aside.write_bytes(content)


def read_decoder(path: Path, device: torch.device) -> StoredDecoder:
    """The decoder in a file that `write_decoder` made; DgaugError where it is damaged or newer than this version."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()[KEY])
            names = file.keys()
            state = {name: file.get_tensor(name) for name in names}
        if about["format"] != FORMAT or about["version"] > VERSION:
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
