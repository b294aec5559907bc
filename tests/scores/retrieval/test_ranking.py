from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dgaug.errors import DgaugError
from dgaug.scores.retrieval import ranking as retrieval
from dgaug.scores.retrieval.protocols import single_shot
from dgaug.scores.retrieval.ranking import evaluate_ranking, read_retrieval
from dgaug.scores.retrieval.similarity import METRICS, WeightedScores

FIXTURE = Path(__file__).parents[2] / "parity" / "ranking_seed1.npz"
SIDES = ("query_feature", "query_id", "query_camera", "gallery_feature", "gallery_id", "gallery_camera")


def alike(one, other, metric):
    """How alike two features are, the more the higher."""
    if metric == "euclidean":
        return -np.linalg.norm(one - other)
    length = np.linalg.norm(one) * np.linalg.norm(other) if metric == "cosine" else 1
    # Equal cosines of different vectors are rounded differently.
    return round(float(np.dot(one, other) / length), 9) if length else 0.0


def restated(query, query_ids, query_cameras, gallery, gallery_ids, gallery_cameras, metric="inner"):
    """The protocol said again, one query and one gallery image at a time."""
    rows = []
    for q, identity in enumerate(query_ids):
        scores = [alike(query[q].astype(np.float64), item.astype(np.float64), metric) for item in gallery]
        ranked = []
        for g in sorted(range(len(gallery)), key=lambda g: (-scores[g], g)):
            same_camera = query_cameras is not None and query_cameras[q] == gallery_cameras[g] != -1
            if gallery_ids[g] == -1 or (gallery_ids[g] == identity and same_camera):
                continue
            ranked.append(gallery_ids[g] == identity)
        ranks = [place for place, right in enumerate(ranked, start=1) if right]
        if not ranks:
            rows.append(None)
            continue
        now = [i / rank for i, rank in enumerate(ranks, start=1)]
        before = [1.0 if rank == 1 else (i - 1) / (rank - 1) for i, rank in enumerate(ranks, start=1)]
        rows.append((ranks[0], np.mean(now), np.mean([now, before]), len(ranks) / ranks[-1]))
    valid = [row for row in rows if row is not None]
    expected = {"queries": len(rows), "valid_queries": len(valid), "gallery": len(gallery)}
    for name, column, count in (("trapezoid_all_queries", 2, len(rows)), ("sum_valid_queries", 1, len(valid))):
        for k in (1, 5, 10):
            share = sum(row[0] <= k for row in valid) / max(count, 1)
            expected[f"{name}/R{k}"] = float(np.float32(share)) if name == "sum_valid_queries" else share
        expected[f"{name}/mAP"] = sum(row[column] for row in valid) / max(count, 1)
        expected[f"{name}/mINP"] = sum(row[3] for row in valid) / max(count, 1)
    expected["queries_without_match"] = len(rows) - len(valid)
    expected["junk"] = sum(identity == -1 for identity in gallery_ids)
    expected["distractors"] = sum(identity == 0 for identity in gallery_ids)
    return expected


@pytest.fixture
def published():
    with np.load(FIXTURE) as file:
        return dict(file)


def test_both_conventions_match_the_published_evaluation(published):
    result = evaluate_ranking(*(published[name] for name in SIDES))
    keys = [key for key in published if "/" in key]
    assert len(keys) == 8
    assert {key: result[key] for key in keys} == pytest.approx({key: float(published[key]) for key in keys}, abs=1e-9)
    assert result["queries"] == 120
    assert result["valid_queries"] == 119
    assert result["junk"] == (published["gallery_id"] == -1).sum()


def test_torch_input_and_small_chunks_of_queries_change_nothing(published, monkeypatch):
    whole = evaluate_ranking(*(published[name] for name in SIDES))
    monkeypatch.setattr(retrieval, "CELLS_PER_CHUNK", 7 * 900)
    assert evaluate_ranking(*(torch.from_numpy(published[name]) for name in SIDES)) == pytest.approx(whole, abs=1e-12)


@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), with_cameras=st.booleans(), metric=st.sampled_from(METRICS))
def test_any_ranking_equals_the_protocol_said_again(seed, with_cameras, metric):
    chance = np.random.default_rng(seed)
    queries, items = chance.integers(1, 8), chance.integers(1, 40)
    # Few small whole numbers: scores are exact and many of them tie.
    sides = [
        chance.integers(-1, 3, (queries, 3)).astype(np.float32),
        chance.integers(1, 4, queries),
        chance.integers(-1, 3, queries),
        chance.integers(-1, 3, (items, 3)).astype(np.float32),
        chance.integers(-1, 5, items),
        chance.integers(-1, 3, items),
    ]
    if not with_cameras:
        sides[2] = sides[5] = None
    expected = restated(*sides, metric)
    if expected["valid_queries"] == 0:
        with pytest.raises(DgaugError, match="none of the"):
            evaluate_ranking(*sides, metric=metric)
    else:
        assert evaluate_ranking(*sides, metric=metric) == pytest.approx(expected, abs=1e-12)


def test_a_query_copied_into_the_gallery_never_ranks_for_itself():
    chance = np.random.default_rng(0)
    gallery, ids = chance.standard_normal((60, 8)), np.arange(60) % 15 + 1
    copied = evaluate_ranking(gallery[:15], ids[:15], None, gallery, ids, None)
    assert copied["copies"] == 15
    assert "copies" not in evaluate_ranking(gallery[:15], ids[:15], None, gallery[15:], ids[15:], None)
    counts = ("gallery", "copies")
    for row in range(15):
        query = gallery[[row]], ids[[row]], None
        left = np.arange(60) != row
        without = evaluate_ranking(*query, gallery[left], ids[left], None)
        result = evaluate_ranking(*query, gallery, ids, None)
        assert {name: result[name] for name in without if name not in counts} == {
            name: without[name] for name in without if name not in counts
        }


def test_a_copy_under_another_name_leaves_the_ranking_too():
    gallery = np.array([[1.5, 0.0], [0.9, 0.1], [0.0, 1.0]])
    result = evaluate_ranking(gallery[:1], [7], None, gallery, [9, 7, 8], None)
    assert (result["sum_valid_queries/R1"], result["copies"]) == (1.0, 1)


def test_features_that_tell_no_image_from_another_tie_as_ever():
    gallery, ids = np.full((3, 2), 0.5), [8, 7, 9]
    collapsed = evaluate_ranking(gallery[:1], [7], None, gallery, ids, None)
    assert (collapsed["sum_valid_queries/R1"], collapsed["sum_valid_queries/R5"]) == (0, 1)
    codes = np.array([[1, 0, 1], [1, 0, 1], [0, 0, 1]], np.float32)
    assert evaluate_ranking(codes[:1], [7], None, codes, ids, None)["sum_valid_queries/mAP"] == 0.5
    assert "copies" not in collapsed


def test_a_copy_of_a_query_is_no_match_of_the_single_shot_protocol_nor_in_its_way():
    chance = np.random.default_rng(0)
    gallery = np.concatenate([chance.standard_normal((1, 4)), chance.standard_normal((3, 4)) * 0.01])
    for copied_as in (7, 9):
        retrieval = read_retrieval(gallery[:1], [7], None, gallery, [copied_as, 7, 8, 9], None)
        scorer = WeightedScores(retrieval.query.features, retrieval.gallery.features, {"": (1.0,)})
        table = single_shot(retrieval, scorer, repeats=20)[""]
        best = int(np.argmax((gallery[:1] @ gallery[1:].T)[0])) == 0
        assert table["sum_valid_queries/R1"] <= float(best)
        assert table["valid_queries"] == 1


def test_equal_images_tie_wherever_they_stand_in_the_gallery():
    # A matrix product rounds equal columns differently at the edges of its blocks.
    chance = np.random.default_rng(0)
    query = chance.standard_normal((9, 2048))
    wrong = chance.standard_normal((1001, 2048))
    gallery = np.concatenate([wrong, wrong[::-1]])
    ids = np.arange(1, 2003)
    first_of_best = (query @ wrong.T).argmax(axis=1)
    result = evaluate_ranking(query, ids[first_of_best], None, gallery, ids, None)
    assert result["sum_valid_queries/R1"] == 1.0


def test_a_distance_that_all_features_share_costs_no_digits():
    chance = np.random.default_rng(0)
    query, gallery = chance.standard_normal((20, 8)), chance.standard_normal((60, 8))
    labels = np.arange(20) % 10, None, np.arange(60) % 10, None
    plain, far = (
        evaluate_ranking(query + offset, *labels[:2], gallery + offset, *labels[2:], metric="euclidean")
        for offset in (0, 1e6)
    )
    assert plain == far
    with pytest.raises(DgaugError, match="unknown metric 'manhattan'; known are inner, cosine, euclidean"):
        evaluate_ranking(query, *labels[:2], gallery, *labels[2:], metric="manhattan")


def test_mean_inverse_negative_penalty_counts_to_the_hardest_match():
    gallery = np.array([[4.0], [3.0], [2.0], [1.0]])
    result = evaluate_ranking(np.ones((1, 1)), [7], None, gallery, [7, 8, 9, 7], None)
    assert result["sum_valid_queries/mINP"] == pytest.approx(2 / 4)
    assert result["sum_valid_queries/mAP"] == pytest.approx((1 + 2 / 4) / 2)
    assert result["trapezoid_all_queries/mAP"] == pytest.approx((1 + (2 / 4 + 1 / 3) / 2) / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gallery_feature": np.zeros((900, 63), np.float32)}, "64 numbers each and gallery features 63"),
        ({"gallery_id": np.zeros(899, np.int64)}, "expected 900 gallery identities"),
        ({"query_camera": None}, "one of query and gallery only"),
        ({"query_id": np.full(120, 5.5)}, "must be integers"),
        ({"query_id": ["0001"] * 120}, "must be integers"),
        ({"query_id": np.full(120, 10**6)}, "none of the 120 queries"),
        ({"query_feature": np.zeros((0, 64), np.float32)}, "N at least 1"),
    ],
)
def test_input_that_does_not_fit_is_named(published, change, message):
    with pytest.raises(DgaugError, match=message):
        evaluate_ranking(*((published | change)[name] for name in SIDES))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_features_name_their_row(published, value):
    published["gallery_feature"][17, 3] = value
    with pytest.raises(DgaugError, match="1 of 900 gallery features hold NaN or infinity, the first in row 17"):
        evaluate_ranking(*(published[name] for name in SIDES))
