"""Scores that know the donors: reconstruction, identity, diversity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import normalise
from dgaug.models.checkpoints import ReidModel
from dgaug.models.reid import soft_labels
from dgaug.scores.diversity import diversity_dssim
from dgaug.scores.generated import GeneratedPictures, Sample
from dgaug.scores.ssim import ssim
from dgaug.store.sources import Sources

BATCH = 64
PER_IDENTITY = 10


def self_reconstruction(sample: Sample, sources: Sources, root: Path) -> dict[str, float]:
    """Pairs (i, i) against the picture i itself: mean SSIM, and mean absolute error in grey levels."""
    size = sample.pixels.shape[1], sample.pixels.shape[2]
    real = donor_pictures(sources, np.asarray(sample.structure), root, size)
    similarity = ssim(torch.from_numpy(sample.pixels), torch.from_numpy(real))
    error = np.abs(sample.pixels.astype(np.float32) - real).mean()
    return {"ssim_self_reconstruction": float(similarity.mean()), "l1_self_reconstruction": float(error)}


@torch.no_grad()
def identity_consistency(sample: Sample, sources: Sources, judge: ReidModel) -> dict[str, float]:
    """Share of pictures whose most probable identity, to the judge, is the appearance (or the structure) donor's."""
    device = next(judge.network.parameters()).device
    seen = []
    for start in range(0, len(sample.pixels), BATCH):
        pixels = torch.from_numpy(sample.pixels[start : start + BATCH]).to(device)
        seen.append(soft_labels(judge.network, normalise(pixels)).argmax(dim=1).cpu().numpy())
    labels = np.concatenate(seen)
    return {
        "identity_is_appearance": float((labels == sources.identity[sample.appearance]).mean()),
        "identity_is_structure": float((labels == sources.identity[sample.structure]).mean()),
    }


def diversity(generated: GeneratedPictures, seed: int) -> float:
    """The published table's dissimilarity within appearance identities, over a few pictures of each."""
    store = generated.store
    if store is None:
        raise ValueError("diversity needs to know the appearance donors")
    identity = store.sources.identity[generated.pairs()[:, 0]]
    rows = {
        store.sources.class_name[label]: generated.choice(PER_IDENTITY, seed, among=np.flatnonzero(identity == label))
        for label in np.unique(identity)
    }
    return diversity_dssim({name: list(generated.at(chosen).pixels) for name, chosen in rows.items()}, seed=seed)


def donor_pictures(sources: Sources, rows: NDArray[np.int64], root: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Donors' pictures uint8 [M, H, W, 3], resized as the networks see them."""
    return np.stack([to_pixels(open_picture(root / sources.path[row]), size) for row in rows])
