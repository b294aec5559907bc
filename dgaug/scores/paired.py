"""Figures over seeds: mean and spread, and paired differences with a confidence interval."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95

Figure = dict[str, float | int | None]


def over_seeds(values: Sequence[float]) -> Figure:
    """Mean and sample standard deviation (None for one seed) of a figure."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "spread": spread, "seeds": len(values)}


def paired_difference(values: Sequence[float], twins: Sequence[float]) -> Figure:
    """Mean of value minus twin, seed by seed, and its 95 % interval by Student's t over the seeds.

    Without a second seed the interval is None. It covers what the seed decides (start, order, draws), not the choice of
    the pictures, of the test identities or of the generator, which all seeds share.
    """
    from scipy.stats import t

    differences = [value - twin for value, twin in zip(values, twins, strict=True)]
    found = over_seeds(differences)
    if len(differences) < 2:
        return found | {"low": None, "high": None}
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * statistics.stdev(differences)
    half /= len(differences) ** 0.5
    mean = statistics.fmean(differences)
    return found | {"low": mean - half, "high": mean + half}
