"""The CUHK03 protocol: one gallery image of each identity, drawn for every query."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dgaug.errors import DgaugError
from dgaug.scores.retrieval.protocols import single_shot
from dgaug.scores.retrieval.ranking import evaluate_ranking, read_retrieval
from dgaug.scores.retrieval.similarity import WeightedScores


def sides(seed, queries=6, people=4, images=12):
    chance = np.random.default_rng(seed)
    return [
        chance.integers(-2, 3, (queries, 3)).astype(np.float64),
        chance.integers(1, people + 1, queries),
        chance.integers(0, 2, queries),
        chance.integers(-2, 3, (images, 3)).astype(np.float64),
        chance.integers(0, people + 1, images),
        chance.integers(0, 2, images),
    ]


def scored(given, **options):
    retrieval = read_retrieval(*given)
    scorer = WeightedScores(retrieval.query.features, retrieval.gallery.features, {"": (1.0,)})
    return single_shot(retrieval, scorer, **options)[""]


def over_all_draws(query, query_ids, query_cameras, gallery, gallery_ids, gallery_cameras):
    """Expected rank-1 and mAP (sum, valid queries): every possible draw, all equally likely."""
    result = []
    for q, identity in enumerate(query_ids):
        score = gallery @ query[q]
        kept = [g for g in range(len(gallery)) if gallery_ids[g] != identity or gallery_cameras[g] != query_cameras[q]]
        people = [[g] for g in kept if gallery_ids[g] == 0]
        people += [[g for g in kept if gallery_ids[g] == one] for one in sorted(set(gallery_ids[kept]) - {0})]
        if not any(gallery_ids[g] == identity for g in kept):
            continue
        ranks = []
        for draw in product(*people):
            order = sorted(draw, key=lambda g: (-score[g], g))
            ranks.append(1 + next(place for place, g in enumerate(order) if gallery_ids[g] == identity))
        result.append((np.mean(np.array(ranks) == 1), np.mean(1 / np.array(ranks))))
    return np.mean(result, axis=0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_mean_of_many_draws_is_that_of_all_possible_ones(seed):
    given = sides(seed)
    result = scored(given, repeats=4000)
    expected = over_all_draws(*given)
    assert (result["sum_valid_queries/R1"], result["sum_valid_queries/mAP"]) == pytest.approx(expected, abs=0.02)
    assert result["sum_valid_queries/R1/spread"] > 0


def test_a_gallery_with_one_image_of_each_identity_is_ranked_as_ever():
    given = sides(4, images=9)
    given[4] = np.array([0, 0, 1, 2, 3, 4, 0, -1, -1])
    given[5] = np.full(9, 7)
    result, plain = scored(given, repeats=3), evaluate_ranking(*given)
    assert {key: result[key] for key in plain if "/" in key} == pytest.approx(
        {key: value for key, value in plain.items() if "/" in key}, abs=1e-7
    )
    assert result["sum_valid_queries/mAP/spread"] == 0


def test_the_seed_decides_the_draws():
    given = sides(5, queries=20, people=5, images=60)
    assert scored(given, repeats=2, seed=1) == scored(given, repeats=2, seed=1) != scored(given, repeats=2, seed=2)
    with pytest.raises(DgaugError, match="at least 1 repeat"):
        scored(given, repeats=0)
