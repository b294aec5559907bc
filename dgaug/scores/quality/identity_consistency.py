"""Scores that know the donors: reconstruction, identity, the teacher's labels, diversity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from dgaug.data.normalisation import normalise
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import ReidModel
from dgaug.models.reid import soft_labels
from dgaug.scores.quality.image_sets import Sample
from dgaug.scores.quality.neighbours import Features, comparable_features, nearest, unit_features
from dgaug.store.sources import Sources

BATCH = 64


@torch.no_grad()
def identity_consistency(sample: Sample, sources: Sources, judge: ReidModel) -> dict[str, float]:
    """Share of images whose most probable identity, to the judge, is the appearance (or the structure) donor's."""
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


@dataclass(frozen=True)
class SeenIdentity:
    """Whom an independent re-id model sees in J generated images.

    Attributes:
        rows: which of the images were judged, int64 [J]; of each donor's identity there is another real image.
        nearest: the most similar real image, int64 [J], neither of the two donors.
        is_appearance, is_structure: whether that image has the donor's identity, bool [J].
        appearance_cosine, structure_cosine: cosine to the centre of the donor's identity, float64 [J], -1..1.
    """

    rows: NDArray[np.int64]
    nearest: NDArray[np.int64]
    is_appearance: NDArray[np.bool_]
    is_structure: NDArray[np.bool_]
    appearance_cosine: NDArray[np.float64]
    structure_cosine: NDArray[np.float64]

    def summary(self) -> dict[str, float]:
        """Rank-1 shares and mean cosines; high for the appearance donor and low for the structure donor is good."""
        return {
            "identity_rank1_appearance": float(self.is_appearance.mean()),
            "identity_rank1_structure": float(self.is_structure.mean()),
            "identity_cosine_appearance": float(self.appearance_cosine.mean()),
            "identity_cosine_structure": float(self.structure_cosine.mean()),
            "identity_judged": len(self.rows),
        }


def seen_identity(
    generated: Features,
    appearance: NDArray[np.integer],
    structure: NDArray[np.integer],
    *,
    real: Features,
    identity: NDArray[np.integer],
) -> SeenIdentity:
    """Generated images as queries against the real ones, both seen by a judge that had no part in making them.

    A query's two donors leave the gallery and the centres of their identities, so that a copied image cannot find
    itself. Similarity is the cosine. The true identities of real images, queried in the same way, are the ceiling.

    Args:
        generated: the judge's features of the generated images [M, D].
        appearance: row of each one's appearance donor [M].
        structure: row of each one's structure donor [M].
        real: the judge's features of all N source images [N, D].
        identity: their identities [N], class indices.

    Raises:
        DgaugError: shapes that do not fit, NaN, infinity or zero features, or no image that can be judged.
    """
    real, generated = comparable_features(real, generated, what="identity consistency")
    if len(identity) != len(real) or not len(appearance) == len(structure) == len(generated):
        raise DgaugError(
            f"identity consistency: {len(real)} real features for {len(identity)} source images, {len(generated)} "
            f"generated features for {len(appearance)} pairs; every image needs its feature"
        )
    real, generated = (unit_features(features, what="identity consistency") for features in (real, generated))
    labels = torch.from_numpy(identity.astype(np.int64)).to(real.device)
    donors = torch.from_numpy(np.stack((appearance, structure), axis=1).astype(np.int64)).to(real.device)
    judged = ((_others(labels, donors) > 0) & (_others(labels, donors.flip(1)) > 0)).nonzero()[:, 0]
    if not len(judged):
        raise DgaugError(
            f"identity consistency: of none of {len(generated)} generated images do both donors' identities have "
            "another real image; data with several images of an identity are needed"
        )
    queries, donors = generated[judged], donors[judged]
    neighbours = nearest(queries, real, left_out=donors)[1][:, 0]
    seen, expected = labels[neighbours], labels[donors]
    return SeenIdentity(
        rows=judged.cpu().numpy(),
        nearest=neighbours.cpu().numpy(),
        is_appearance=(seen == expected[:, 0]).cpu().numpy(),
        is_structure=(seen == expected[:, 1]).cpu().numpy(),
        appearance_cosine=_centre_cosine(queries, real, labels, donors),
        structure_cosine=_centre_cosine(queries, real, labels, donors.flip(1)),
    )


def teacher_agreement(labels: NDArray[np.floating], appearance_identity: NDArray[np.integer]) -> dict[str, float]:
    """How far the stored soft labels [M, C] agree with the appearance donors' classes [M]; no network is needed.

    `teacher_is_appearance` is the share of images whose most probable class is the appearance donor's (higher is
    better), `teacher_probability` the mean probability given to that class (higher is better), `teacher_entropy` the
    mean entropy of a label in nats (0 to ln C): what the soft labels say beyond one class.

    Raises:
        DgaugError: shapes that do not fit, or labels that are no probabilities.
    """
    if labels.ndim != 2 or not len(labels) or appearance_identity.shape != labels.shape[:1]:
        raise DgaugError(
            f"teacher agreement: expected soft labels [M, C] and M classes, found {list(labels.shape)} and "
            f"{list(appearance_identity.shape)}"
        )
    probability = labels.astype(np.float64)
    if not (probability >= 0).all() or not np.isfinite(probability).all():
        raise DgaugError("teacher agreement: soft labels with NaN or below 0; run dgaug verify on the store")
    given = np.take_along_axis(probability, appearance_identity.astype(np.int64)[:, None], axis=1)
    surprise = -np.log(probability, out=np.zeros_like(probability), where=probability > 0)
    return {
        "teacher_is_appearance": float((probability.argmax(axis=1) == appearance_identity).mean()),
        "teacher_probability": float(given.mean()),
        "teacher_entropy": float((probability * surprise).sum(axis=1).mean()),
    }


def _others(labels: Tensor, donors: Tensor) -> Tensor:
    """How many real images of the first donor's identity are neither donor [M], for donors [M, 2]."""
    return torch.bincount(labels)[labels[donors[:, 0]]] - 1 - _second_of_same(labels, donors).long()


def _centre_cosine(queries: Tensor, real: Tensor, labels: Tensor, donors: Tensor) -> NDArray[np.float64]:
    """Cosine of each query to the mean unit feature of its first donor's identity, both donors left out: [M]."""
    sums = real.new_zeros(int(labels.max()) + 1, real.shape[1]).index_add_(0, labels, real)
    second = _second_of_same(labels, donors)[:, None] * real[donors[:, 1]]
    centre = normalize(sums[labels[donors[:, 0]]] - real[donors[:, 0]] - second, dim=1)
    return np.asarray((queries * centre).sum(dim=1).cpu().numpy())


def _second_of_same(labels: Tensor, donors: Tensor) -> Tensor:
    """Whether the second donor is another image of the first one's identity: [M]."""
    first, second = donors.unbind(1)
    return (first != second) & (labels[first] == labels[second])
