"""Training previews: the same few donors every time, every appearance on every structure."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from dgaug.chance import draws
from dgaug.data.pixels import denormalise, normalise
from dgaug.pictures.sheet import nxn_sheet
from dgaug.training.batches import LabelledPictures
from dgaug.training.networks import Networks

DONORS = 6


def preview(networks: Networks, pictures: LabelledPictures, *, seed: int) -> Image.Image:
    """The N x N sheet of a few identities, one picture each, drawn by the averaged generator."""
    rows = _donors(pictures, seed)
    pixels = np.stack([pictures.resized[row] for row in rows])
    device = next(networks.generator.parameters()).device
    donors = normalise(torch.from_numpy(pixels).to(device))
    networks.appearance.eval()
    with torch.no_grad():
        adain = networks.averaged.adain(networks.appearance(donors).appearance)
        structure = networks.averaged.structure(donors)
        cells = [networks.averaged.decoder(structure, row.expand(len(rows), *row.shape)) for row in adain]
    networks.appearance.train()
    return nxn_sheet(torch.stack([denormalise(cell) for cell in cells]).cpu().numpy(), pixels, pixels)


def _donors(pictures: LabelledPictures, seed: int) -> list[int]:
    rng = draws("preview", seed)
    labels = pictures.labels.numpy()
    chosen = rng.permutation(len(pictures.class_names))[:DONORS]
    return [int(rng.choice(np.flatnonzero(labels == label))) for label in chosen]
