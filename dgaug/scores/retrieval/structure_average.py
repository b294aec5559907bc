"""Features of a test image averaged over its appearance on several structures, which a generator gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import denormalise, normalise
from dgaug.data.recorded import read_run_data
from dgaug.data.records import IdentityData
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import TrainedGenerator, load_generator
from dgaug.progress import Progress
from dgaug.runs import find_run
from dgaug.scores.retrieval.features import Extraction
from dgaug.seeding import draws

BATCH = 16
"""Test images at a time; each is decoded on every structure."""


@dataclass(frozen=True)
class Structures:
    """A generator and the structure codes [K, C, h, w] of K training images of its run."""

    model: TrainedGenerator
    codes: Tensor
    names: list[str]

    def described(self) -> dict[str, object]:
        """What a protocol records of them."""
        return {"structures": len(self.codes), "generator_sha256": self.model.sha256, "donors": self.names}


def choose_structures(run: str, count: int, extraction: Extraction, *, seed: int) -> Structures:
    """The structures of `count` training images of a run, chosen by the seed.

    Raises:
        DgaugError: no such run, fewer training images, or a generator of another image size than the re-id network.
    """
    trained = find_run(run)
    if not trained.checkpoint.is_file():
        raise DgaugError(f"--structures: {trained.folder} has no checkpoint; give a trained one with --run")
    model = load_generator(trained.checkpoint)
    size = model.settings.data.image_size
    if size != extraction.image_size:
        theirs, ours = ("x".join(map(str, one)) for one in (size, extraction.image_size))
        raise DgaugError(
            f"--structures: the generator of {trained.folder} makes images of {theirs}, the checkpoint sees {ours}; "
            "give another --run"
        )
    data = read_run_data(trained)
    available = len(data.splits["train"])
    if available < count:
        raise DgaugError(f"--structures {count}: {trained.folder} has {available} training images; ask for fewer")
    return structures_of(model, data, count, seed=seed)


@torch.no_grad()
def structures_of(model: TrainedGenerator, data: IdentityData, count: int, *, seed: int) -> Structures:
    """The structures of `count` training images, or of all where there are fewer, chosen by the seed."""
    device, size, records = default_device(), model.settings.data.image_size, data.splits["train"]
    chosen = [records[place] for place in sorted(draws("structures", seed).permutation(len(records))[:count])]
    model.to(device)
    pixels = np.stack([to_pixels(open_image(data.image_path(record)), size) for record in chosen])
    codes = model.generator.structure(normalise(torch.from_numpy(pixels).to(device)))
    return Structures(model, codes, [record.path for record in chosen])


@torch.no_grad()
def averaged_features(
    extraction: Extraction, paths: list[Path], structures: Structures, *, title: str, progress: Progress
) -> Tensor:
    """Features float32 [N, D] on the CPU: the mean over an image as it is and on each structure, parts of unit length.

    Where the extraction leaves features as they are, so does this.
    """
    network, device, model = extraction.network.eval(), structures.codes.device, structures.model
    result = []
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        pixels = np.stack([to_pixels(open_image(path), extraction.image_size) for path in batch])
        images = normalise(torch.from_numpy(pixels).to(device))
        adain = model.generator.adain(model.appearance(images).appearance)
        seen = [network.features(images, flip=extraction.flip, unit=extraction.unit)]
        for code in structures.codes:
            made = model.generator.decoder(code.expand(len(batch), *code.shape), adain)
            # Rounded and clipped as the images of a store are.
            seen.append(network.features(normalise(denormalise(made)), flip=extraction.flip, unit=extraction.unit))
        mean = torch.stack(seen).mean(dim=0)
        if extraction.unit:
            parts = mean.view(len(batch), extraction.parts, -1)
            mean = normalize(parts, dim=2).flatten(1)
        result.append(mean.cpu())
        progress(title, start + len(batch), len(paths))
    return torch.cat(result)
