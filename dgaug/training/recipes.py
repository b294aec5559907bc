"""What the re-id models of the field are trained with, beyond their architecture: settings of `reid`, by model."""

from __future__ import annotations

RECIPES: dict[str, dict[str, object]] = {
    # Luo et al., CVPR workshops 2019: P x K batches, batch-hard triplets, smoothed labels; warm-up is everybody's.
    "bot": {"sampler": "balanced", "per_identity": 4, "metric": "triplet", "label_smoothing": 0.1},
}
