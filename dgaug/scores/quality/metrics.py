"""The metrics by name: what each needs, what it says in a line, and which way is good."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dgaug.scores.quality.feature_metrics import KERNEL_LEAST
from dgaug.scores.quality.precision_recall import DENSITY_NEIGHBOURS

MEANINGS = {
    "fid": "Fréchet Inception distance to the real images; lower is better",
    "kid": "kernel Inception distance; lower is better",
    "frechet": "Fréchet distance in another encoder's features: not FID, compares only with itself; lower is better",
    "kernel": "kernel distance in another encoder's features; lower is better",
    "precision": "share of generated images among the real ones; higher is better",
    "recall": "share of real images among the generated ones; higher is better",
    "density": "how densely real images surround the generated ones; higher is better",
    "coverage": "share of real images with a generated one beside them; higher is better",
    "ssim_self_reconstruction": "SSIM of pairs (i, i) with the image i itself, 1 where equal; higher is better",
    "l1_self_reconstruction": "mean absolute error of pairs (i, i), grey levels of 255; lower is better",
    "diversity": "dissimilarity within an appearance identity; higher is more varied",
    "duplicates": "share of generated images as near to a real one as 1 % of real ones are to each other",
    "duplicates_threshold": "how near that is: a distance of features",
    "structure": "SSIM and correlations with each donor: high for the structure donor, low for the appearance donor",
    "variance": "what appearance, structure and neither alone explain of a block of images; both well above 0",
    "identity_rank1_appearance": "nearest real image shows the appearance donor's identity; higher is better",
    "identity_rank1_structure": "nearest real image shows the structure donor's identity; lower is better",
    "identity_rank1_real": "the same for real images: the ceiling",
    "identity_cosine": "cosine to the centre of the identity; high for appearance and real, low for structure",
    "identity_is_appearance": "share that the teacher takes for the appearance donor now: no independent opinion",
    "identity_is_structure": "share that the teacher takes for the structure donor now: no independent opinion",
    "teacher_is_appearance": "share of soft labels whose first choice is the appearance donor's identity",
    "teacher_probability": "mean probability that soft labels give the appearance donor's identity",
    "teacher_entropy": "how much soft labels say beyond one class, in nats; 0: nothing",
    "oracle": "error against the true image of each pair, beside copies of the two donors",
}
"""By the beginning of a score's name; docs/scores.md says more."""
DETAILS = {
    "_floor": "real against other real images: what a perfect generator would get at that count",
    "_by_count": "value and floor at smaller counts",
}
OF_DONORS = ("ssim", "diversity", "structure", "variance", "identity", "teacher", "oracle")
INCEPTION_METRICS = {"frechet": "fid", "kernel": "kid"}
"""What the distances of any encoder are called for FID's Inception."""
OF_ANY_ENCODER = ("precision", "duplicates")
OF_OTHER_ENCODER = (*INCEPTION_METRICS, *OF_ANY_ENCODER)
METRICS = (*INCEPTION_METRICS.values(), *OF_OTHER_ENCODER, *OF_DONORS)
LEAST = {"kid": KERNEL_LEAST, "kernel": KERNEL_LEAST, "precision": DENSITY_NEIGHBOURS + 1, "duplicates": 2}
"""Images that a metric needs on each side; these metrics need the images themselves."""


def meaning(name: str, scores: Mapping[str, Any]) -> str:
    """What a score is, by the longest known beginning of its name; of a detail of another score, by its end."""
    if any(name.startswith(f"{other}_") for other in scores):
        return next((meaning for end, meaning in DETAILS.items() if name.endswith(end)), "")
    known = [start for start in MEANINGS if name == start or name.startswith(f"{start}_")]
    return MEANINGS[max(known, key=len)] if known else ""


def good(name: str, scores: Mapping[str, Any]) -> str:
    """`low` or `high` where one of them is good, as `meaning` says; empty where it is neither."""
    match = re.search(r"(low|high)er is better$", meaning(name, scores))
    return match[1] if match else ""
