"""Evaluating a re-id network on the query and gallery of a data set (method: re-id features, ranking)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import normalise
from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record, Role
from dgaug.data.training import read_data
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import load_reid
from dgaug.models.ensemble import Ensemble
from dgaug.models.reid import ReidNetwork
from dgaug.progress import Progress, silent
from dgaug.scores.retrieval import DISTRACTOR_IDENTITY, JUNK_IDENTITY, evaluate_ranking
from dgaug.settings import parse_settings

BATCH = 64
FINE_WEIGHT = 0.5
"""Weight of the fine half in the score of the published numbers."""

Ranking = dict[str, float | int]


@dataclass(frozen=True)
class Split:
    """Features and labels of query or gallery: [N, D], [N], [N]."""

    features: Tensor
    identities: NDArray[np.int64]
    cameras: NDArray[np.int64]


def evaluate_reid(
    checkpoint: str | Path,
    data: str | Path,
    *,
    layout: str = "auto",
    pattern: str | None = None,
    cameras: str = "auto",
    fine_weight: float = FINE_WEIGHT,
    progress: Progress = silent,
) -> dict[str, Ranking]:
    """Rank `data`'s gallery for each query with a re-id checkpoint; tables by feature (`prim`, `fine`, `both`).

    Raises:
        DgaugError: bad checkpoint or data, or no query with a match.
    """
    device = default_device()
    model = load_reid(Path(checkpoint))
    settings = parse_settings({"data": {"layout": layout, "pattern": pattern, "cameras": cameras}}, source="eval-reid")
    content = read_data(Path(data), settings.data, splits=("query", "gallery"), progress=progress)
    return evaluate_network(
        model.network.to(device), content, image_size=model.image_size, fine_weight=fine_weight, progress=progress
    )


def evaluate_network(
    network: ReidNetwork | Ensemble,
    data: IdentityData,
    *,
    image_size: tuple[int, int],
    fine_weight: float = FINE_WEIGHT,
    progress: Progress = silent,
) -> dict[str, Ranking]:
    """The ranking figures of a network in eval mode, by feature."""
    require_evaluation(data)
    numbers = _identity_numbers(data)
    query = _split(network, data, "query", numbers=numbers, image_size=image_size, progress=progress)
    gallery = _split(network, data, "gallery", numbers=numbers, image_size=image_size, progress=progress)
    return {name: _rank(query, gallery, scale) for name, scale in _feature_scales(network, fine_weight).items()}


def require_evaluation(data: IdentityData) -> None:
    """Refuse a data set without query or gallery.

    Raises:
        DgaugError: names what is missing.
    """
    missing = [split for split in ("query", "gallery") if not data.splits.get(split)]
    if missing:
        raise DgaugError(
            f"{data.root} has no {' and no '.join(missing)} split, so a re-id model cannot be evaluated on it; "
            "add the folders, or a manifest with a split column"
        )


@torch.no_grad()
def features_of(
    network: ReidNetwork | Ensemble,
    paths: Sequence[Path],
    image_size: tuple[int, int],
    *,
    title: str,
    progress: Progress = silent,
) -> Tensor:
    """Re-id features [N, D] of picture files, on CPU."""
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for start in range(0, len(paths), BATCH):
        pixels = np.stack([to_pixels(open_picture(path), image_size) for path in paths[start : start + BATCH]])
        parts.append(network.features(normalise(torch.from_numpy(pixels).to(device))).cpu())
        progress(title, min(start + BATCH, len(paths)), len(paths))
    return torch.cat(parts)


def _feature_scales(network: ReidNetwork | Ensemble, fine_weight: float) -> dict[str, list[float]]:
    if isinstance(network, Ensemble) or len(network.heads) == 1:
        return {"prim": [1.0]}
    return {"prim": [1.0, 0.0], "fine": [0.0, 1.0], "both": [1.0, fine_weight]}


def _rank(query: Split, gallery: Split, scale: list[float]) -> Ranking:
    halves = query.features.chunk(len(scale), dim=1)
    scaled = torch.cat([half * factor for half, factor in zip(halves, scale, strict=True)], dim=1)
    cameras_known = (query.cameras != UNKNOWN_CAMERA).any() and (gallery.cameras != UNKNOWN_CAMERA).any()
    return evaluate_ranking(
        scaled,
        query.identities,
        query.cameras if cameras_known else None,
        gallery.features,
        gallery.identities,
        gallery.cameras if cameras_known else None,
    )


def _identity_numbers(data: IdentityData) -> dict[str, int]:
    names = {record.identity for split in ("query", "gallery") for record in data.splits[split]}
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def _number(record: Record, numbers: dict[str, int]) -> int:
    special = {Role.JUNK: JUNK_IDENTITY, Role.DISTRACTOR: DISTRACTOR_IDENTITY}
    return special.get(record.role, numbers[record.identity])


def _split(
    network: ReidNetwork | Ensemble,
    data: IdentityData,
    name: str,
    *,
    numbers: dict[str, int],
    image_size: tuple[int, int],
    progress: Progress,
) -> Split:
    records = data.splits[name]
    paths = [data.picture_path(record) for record in records]
    return Split(
        features_of(network, paths, image_size, title=f"features of {name}", progress=progress),
        np.array([_number(record, numbers) for record in records]),
        np.array([record.camera for record in records]),
    )
