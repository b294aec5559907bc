"""The weight of the fine half of a feature, chosen on training images and never on the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dgaug.data.records import IdentityData, Record, Role, class_names
from dgaug.errors import DgaugError
from dgaug.progress import Progress, silent
from dgaug.scores.retrieval.features import Extraction, identity_numbers, retrieval_of, split_features
from dgaug.scores.retrieval.ranking import score_queries, summary
from dgaug.scores.retrieval.similarity import WeightedScores, Weightings

FINE_WEIGHT = 0.5
"""Weight of the fine half in the score of the published numbers, which was chosen on the test set."""
CANDIDATES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0)
VALIDATION_IDENTITIES = 100


@dataclass(frozen=True)
class FineWeight:
    """A weight of the fine half; where it was chosen, by which mAP (sum, valid queries) of every candidate."""

    weight: float = FINE_WEIGHT
    chosen_by: Mapping[float, float] | None = None
    queries: int = 0


def weightings_of(parts: int, fine_weight: float) -> Weightings:
    """By feature, the weights of its parts: `prim`, and of a network with two heads `fine` and `both`."""
    if parts == 1:
        return {"prim": (1.0,)}
    return {"prim": (1.0, 0.0), "fine": (0.0, 1.0), "both": (1.0, fine_weight)}


def choose_fine_weight(
    extraction: Extraction, data: IdentityData, *, metric: str = "inner", seed: int = 0, progress: Progress = silent
) -> FineWeight:
    """The candidate with the best mAP between training images, of equal ones the nearest to the published weight.

    Of up to `VALIDATION_IDENTITIES` training identities, chosen by the seed, one image from each camera is a query
    and the others are the gallery. Images that the network was trained with say less than held-out ones, but they
    leave the test alone.

    Raises:
        DgaugError: no training split, or no query with a match in it.
    """
    query, gallery = validation_split(data.splits.get("train", []), VALIDATION_IDENTITIES, seed=seed)
    if not gallery:
        raise DgaugError(
            f"choosing the weight of fine: {data.root} has no training identity with several images; give a number "
            "instead of auto"
        )
    chosen = replace(data, splits={"validation queries": query, "validation gallery": gallery})
    numbers = identity_numbers([*query, *gallery])
    sides = [split_features(extraction, chosen, name, numbers, progress=progress) for name in chosen.splits]
    retrieval = retrieval_of(*sides)
    weightings = {str(weight): (1.0, weight) for weight in CANDIDATES}
    scorer = WeightedScores(retrieval.query.features, retrieval.gallery.features, weightings, metric=metric)
    try:
        tables = {float(name): summary(scores) for name, scores in score_queries(retrieval, scorer).items()}
    except DgaugError as error:
        raise DgaugError(f"choosing the weight of fine on the training split: {error}; or give a number") from error
    values = {weight: float(table["sum_valid_queries/mAP"]) for weight, table in tables.items()}
    best = max(values, key=lambda weight: (values[weight], -abs(weight - FINE_WEIGHT)))
    return FineWeight(best, values, len(query))


def validation_split(records: Sequence[Record], identities: int, *, seed: int) -> tuple[list[Record], list[Record]]:
    """Queries and gallery among training records: one image of each identity and camera, and all others of them."""
    chance = np.random.default_rng(seed)
    names = class_names(records)
    kept = {names[place] for place in chance.permutation(len(names))[:identities]}
    query: dict[tuple[str, int], Record] = {}
    gallery = []
    for place in chance.permutation(len(records)):
        record = records[place]
        if record.role is not Role.IDENTITY or record.identity not in kept:
            continue
        if query.setdefault((record.identity, record.camera), record) is not record:
            gallery.append(record)
    return list(query.values()), gallery
