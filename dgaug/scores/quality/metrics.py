"""The metrics: name, what each needs and is computed by, and what its scores mean; the one table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dgaug.scores.quality import donor_metrics as of_donors
from dgaug.scores.quality.donor_metrics import Compute, Donors, Judges
from dgaug.scores.quality.feature_metrics import (
    KERNEL_LEAST,
    Features,
    duplicate_scores,
    frechet_scores,
    kernel_scores,
    precision_scores,
)
from dgaug.scores.quality.precision_recall import DENSITY_NEIGHBOURS

INCEPTION, OTHER, ANY = "the FID Inception", "another encoder", "any encoder"
_LOW, _HIGH = "low", "high"


@dataclass(frozen=True)
class Metric:
    """A name of `--metrics`.

    Attributes:
        name: what it is asked for by.
        scores: by the beginning of a score's name, what it says, and `low` or `high` where one of them is good.
        encoder: whose features it takes; "" where it needs the donors of a store instead.
        of_features: its scores of an encoder's features and a seed; nothing for too few images.
        of_donors: how to take its scores, or why they cannot be taken.
        least: images that it needs on each side, the images themselves; 0: statistics will do.
        sampled: whether it looks at `SAMPLE` images one by one.
    """

    name: str
    scores: Mapping[str, tuple[str, str]]
    encoder: str = ""
    of_features: Callable[[Features, int], dict[str, Any]] | None = None
    of_donors: Callable[[Donors, Judges], Compute | str] | None = None
    least: int = 0
    sampled: bool = False


_TABLE = (
    Metric(
        "fid",
        {"fid": ("Fréchet Inception distance to the real images", _LOW)},
        INCEPTION,
        frechet_scores,
    ),
    Metric("kid", {"kid": ("kernel Inception distance", _LOW)}, INCEPTION, kernel_scores, least=KERNEL_LEAST),
    Metric(
        "frechet",
        {"frechet": ("Fréchet distance in another encoder's features: not FID, compares only with itself", _LOW)},
        OTHER,
        frechet_scores,
    ),
    Metric(
        "kernel",
        {"kernel": ("kernel distance in another encoder's features", _LOW)},
        OTHER,
        kernel_scores,
        least=KERNEL_LEAST,
    ),
    Metric(
        "precision",
        {
            "precision": ("share of generated images among the real ones", _HIGH),
            "recall": ("share of real images among the generated ones", _HIGH),
            "density": ("how densely real images surround the generated ones", _HIGH),
            "coverage": ("share of real images with a generated one beside them", _HIGH),
        },
        ANY,
        precision_scores,
        least=DENSITY_NEIGHBOURS + 1,
    ),
    Metric(
        "duplicates",
        {
            "duplicates": ("share of generated images as near to a real one as 1 % of real ones are to each other", ""),
            "duplicates_threshold": ("how near that is: a distance of features", ""),
        },
        ANY,
        duplicate_scores,
        least=2,
    ),
    Metric(
        "ssim",
        {
            "ssim_self_reconstruction": ("SSIM of pairs (i, i) with the image i itself, 1 where equal", _HIGH),
            "l1_self_reconstruction": ("mean absolute error of pairs (i, i), grey levels of 255", _LOW),
        },
        of_donors=of_donors.ssim,
        sampled=True,
    ),
    Metric(
        "diversity",
        {"diversity": ("dissimilarity within an appearance identity; higher is more varied", "")},
        of_donors=of_donors.variety,
    ),
    Metric(
        "structure",
        {
            "structure": (
                "SSIM and correlations with each donor: high for the structure donor, low for the appearance donor",
                "",
            )
        },
        of_donors=of_donors.structure,
        sampled=True,
    ),
    Metric(
        "variance",
        {
            "variance": (
                "what appearance, structure and neither alone explain of a block of images; both well above 0",
                "",
            )
        },
        of_donors=of_donors.variance,
    ),
    Metric(
        "identity",
        {
            "identity_rank1_appearance": ("nearest real image shows the appearance donor's identity", _HIGH),
            "identity_rank1_structure": ("nearest real image shows the structure donor's identity", _LOW),
            "identity_rank1_real": ("the same for real images: the ceiling", ""),
            "identity_cosine": (
                "cosine to the centre of the identity; high for appearance and real, low for structure",
                "",
            ),
            "identity_is_appearance": (
                "share that the teacher takes for the appearance donor now: no independent opinion",
                "",
            ),
            "identity_is_structure": (
                "share that the teacher takes for the structure donor now: no independent opinion",
                "",
            ),
        },
        of_donors=of_donors.identity,
        sampled=True,
    ),
    Metric(
        "teacher",
        {
            "teacher_is_appearance": ("share of soft labels whose first choice is the appearance donor's identity", ""),
            "teacher_probability": ("mean probability that soft labels give the appearance donor's identity", ""),
            "teacher_entropy": ("how much soft labels say beyond one class, in nats; 0: nothing", ""),
        },
        of_donors=of_donors.labels,
        sampled=True,
    ),
    Metric(
        "oracle",
        {"oracle": ("error against the true image of each pair, beside copies of the two donors", "")},
        of_donors=of_donors.oracle,
        sampled=True,
    ),
)
METRICS = {metric.name: metric for metric in _TABLE}
_SCORES = {start: score for metric in _TABLE for start, score in metric.scores.items()}
_DETAILS = {
    "_floor": ("real against other real images: what a perfect generator would get at that count", ""),
    "_by_count": ("value and floor at smaller counts", ""),
}
"""Of another score, by the end of the name."""


def meaning(name: str, scores: Mapping[str, Any]) -> str:
    """What a score says in a line, and which way is good; docs/scores.md says more."""
    text, way = _known(name, scores)
    return f"{text}; {way}er is better" if way else text


def good(name: str, scores: Mapping[str, Any]) -> str:
    """`low` or `high` where one of them is good; empty where it is neither."""
    return _known(name, scores)[1]


def _known(name: str, scores: Mapping[str, Any]) -> tuple[str, str]:
    """By the longest known beginning of the name; a detail of another score by its end."""
    if any(name.startswith(f"{other}_") for other in scores):
        return next((known for end, known in _DETAILS.items() if name.endswith(end)), ("", ""))
    known = [start for start in _SCORES if name == start or name.startswith(f"{start}_")]
    return _SCORES[max(known, key=len)] if known else ("", "")
