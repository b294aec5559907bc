"""k-reciprocal re-ranking against the paper said again, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dgaug.errors import DgaugError
from dgaug.scores.retrieval import reranking
from dgaug.scores.retrieval.reranking import RerankedScores, Reranking


def restated(query, gallery, parameters):
    """Final distances [Q, G] by the paper's sections 3.2 to 3.4, with whole matrices and one image at a time."""
    images = np.concatenate([query, gallery])
    count, k1, k2 = len(images), parameters.k1, parameters.k2
    distance = ((images[:, None] - images[None]) ** 2).sum(axis=2)
    distance /= np.maximum(distance.max(axis=1, keepdims=True), 1e-300)
    order = []
    for i in range(count):
        others = [j for j in np.argsort(distance[i], kind="stable") if j != i]
        order.append([i, *others])

    def reciprocal(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    encoding = np.zeros((count, count))
    for i in range(count):
        near = reciprocal(i, k1)
        expanded = set(near)
        for j in near:
            own = reciprocal(j, round(k1 / 2))
            if len(own & near) > 2 / 3 * len(own):
                expanded |= own
        for j in expanded:
            encoding[i, j] = np.exp(-distance[i, j])
        encoding[i] /= encoding[i].sum()
    if k2 > 1:
        encoding = np.array([encoding[order[i][:k2]].mean(axis=0) for i in range(count)])
    final = np.empty((len(query), len(gallery)))
    for i in range(len(query)):
        for g in range(len(gallery)):
            one, other = encoding[i], encoding[len(query) + g]
            jaccard = 1 - np.minimum(one, other).sum() / np.maximum(one, other).sum()
            weight = parameters.original
            final[i, g] = weight * distance[i, len(query) + g] + (1 - weight) * jaccard
    return final


def reranked(query, gallery, parameters, weightings=None):
    scorer = RerankedScores(
        torch.from_numpy(query), torch.from_numpy(gallery), weightings or {"": (1.0,)}, parameters=parameters
    )
    return {name: -scores for name, scores, _ in scorer(slice(0, len(query)))}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    k1=st.integers(1, 12),
    k2=st.integers(1, 5),
    original=st.sampled_from([0.0, 0.3, 1.0]),
    whole_numbers=st.booleans(),
)
def test_any_re_ranking_equals_the_paper_said_again(seed, k1, k2, original, whole_numbers):
    chance = np.random.default_rng(seed)
    query, gallery = (chance.standard_normal((n, 4)) for n in chance.integers(1, 30, 2))
    if whole_numbers:  # exact distances, many of them equal, and images that are there several times
        query, gallery = query.round(), gallery.round()
    parameters = Reranking(k1=k1, k2=k2, original=original)
    result = reranked(query, gallery, parameters)[""]
    assert np.abs(result - restated(query, gallery, parameters)).max() < 1e-9


def test_the_published_parameters_on_clustered_images_in_small_chunks(monkeypatch):
    monkeypatch.setattr(reranking, "CELLS_PER_CHUNK", 7 * 150)
    monkeypatch.setattr(reranking, "PAIRS_PER_CHUNK", 11)
    chance = np.random.default_rng(5)
    centres = chance.standard_normal((10, 8))
    query, gallery = (centres[chance.integers(0, 10, n)] + 0.4 * chance.standard_normal((n, 8)) for n in (30, 120))
    assert np.abs(reranked(query, gallery, None)[""] - restated(query, gallery, Reranking())).max() < 1e-9


def test_weighted_parts_are_re_ranked_by_their_weighted_distance():
    chance = np.random.default_rng(6)
    query, gallery = chance.standard_normal((9, 6)), chance.standard_normal((25, 6))
    parameters = Reranking(k1=6, k2=3)
    result = reranked(query, gallery, parameters, {"prim": (1, 0), "both": (1, 0.5)})
    assert np.abs(result["prim"] - restated(query[:, :3], gallery[:, :3], parameters)).max() < 1e-9
    scale = np.sqrt([1, 1, 1, 0.5, 0.5, 0.5])
    assert np.abs(result["both"] - restated(query * scale, gallery * scale, parameters)).max() < 1e-9


def test_images_that_are_all_the_same_have_no_distance():
    result = reranked(np.ones((2, 3)), np.ones((5, 3)), Reranking(k1=2, k2=1, original=1.0))[""]
    assert np.array_equal(result, np.zeros((2, 5)))


@pytest.mark.parametrize("wrong", [{"k1": 0}, {"k2": 0}, {"original": 1.5}])
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(DgaugError, match="expected k1 and k2 of at least 1"):
        Reranking(**wrong)
