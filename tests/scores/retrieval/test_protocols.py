"""What is evaluated beside single queries, and what a Python caller gets of each query."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from dgaug.data.records import Record
from dgaug.scores.retrieval.features import Split
from dgaug.scores.retrieval.protocols import Protocols, evaluate_splits, multi_query_features
from dgaug.scores.retrieval.ranking import evaluate_ranking
from dgaug.scores.retrieval.reranking import RerankedScores, Reranking


def split(features, identities, cameras):
    rows = enumerate(zip(identities, cameras, strict=True))
    records = [Record(f"{row}.jpg", str(identity), camera) for row, (identity, camera) in rows]
    return Split(records, torch.tensor(features, dtype=torch.float32), np.array(identities), np.array(cameras))


@pytest.fixture
def sides():
    chance = np.random.default_rng(0)
    centres = chance.standard_normal((6, 4))
    given = []
    for count, low in ((10, 1), (40, -1), (30, 1)):
        identities = chance.integers(low, 6, count)
        features = centres[identities] + chance.standard_normal((count, 4))
        given.append(split(features, identities, chance.integers(1, 4, count)))
    return given


def labels(side):
    return side.identities, side.cameras


def test_a_multi_query_is_the_plain_mean_of_the_images_of_its_identity_and_camera(sides):
    query, gallery, images = sides
    expected = []
    for row in range(10):
        same = (images.identities == query.identities[row]) & (images.cameras == query.cameras[row])
        expected.append(images.features[same].mean(0) if same.any() else query.features[row])
    means = torch.stack(expected)
    assert torch.allclose(multi_query_features(query, images), means.double(), atol=1e-6)
    assert not torch.equal(means, query.features)
    result = evaluate_splits(query, gallery, {"prim": (1.0,)}, protocols=Protocols(multi_query=images))
    table = evaluate_ranking(means, *labels(query), gallery.features, *labels(gallery))
    assert result.ranking["multi-query"]["prim"] == pytest.approx(table)
    assert result.ranking["single-query"]["prim"] != result.ranking["multi-query"]["prim"]


def test_re_ranking_is_of_the_gallery_without_its_junk(sides):
    query, gallery, _ = sides
    result = evaluate_splits(query, gallery, {"prim": (1.0,)}, protocols=Protocols(reranking=Reranking(k1=5, k2=2)))
    kept = np.flatnonzero(gallery.identities != -1)
    assert len(kept) < 40
    scorer = RerankedScores(
        query.features.double(), gallery.features[kept].double(), {"": (1.0,)}, parameters=Reranking(k1=5, k2=2)
    )
    scores = next(scorer(slice(0, 10))).scores
    # Ranking by given scores: the identity matrix as queries, the scores as gallery features.
    table = evaluate_ranking(
        np.eye(10), *labels(query), scores.T.copy(), gallery.identities[kept], gallery.cameras[kept]
    )
    figures = {name: value for name, value in table.items() if "/" in name}
    assert {name: result.ranking["re-ranked"]["prim"][name] for name in figures} == pytest.approx(figures)


@pytest.mark.parametrize("protocol", ["single-query", "re-ranked"])
def test_each_query_has_its_own_figures_and_its_ranked_list(sides, protocol):
    query, gallery, _ = sides
    result = evaluate_splits(
        query, gallery, {"prim": (1, 0), "both": (1, 0.5)}, protocols=Protocols(reranking=Reranking())
    )
    assert result.feature == "both"
    scores = result.per_query[protocol]["both"]
    assert len(scores.valid) > 5
    assert np.mean(scores.average_precision[scores.valid]) == pytest.approx(
        result.ranking[protocol]["both"]["sum_valid_queries/mAP"]
    )
    for row in scores.valid:
        ranked = result.ranked(int(row), count=100, protocol=protocol)
        hits = [place for place, image in enumerate(ranked, start=1) if image.right]
        assert hits[0] == scores.first_rank[row]
        assert np.mean([i / rank for i, rank in enumerate(hits, start=1)]) == pytest.approx(
            scores.average_precision[row]
        )
        assert all(one.score >= other.score - 1e-9 for one, other in pairwise(ranked))
        own = query.records[row]
        for image in ranked:
            assert image.record.identity != "-1"
            assert image.right == (image.record.identity == own.identity)
            assert not (image.right and image.record.camera == own.camera)
    assert len(result.ranked(0, count=3)) == 3
