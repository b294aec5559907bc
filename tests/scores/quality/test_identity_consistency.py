"""Whom a judge sees: a search by hand among real images that are no donors; what soft labels agree on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dgaug.errors import DgaugError
from dgaug.scores.quality.identity_consistency import seen_identity, teacher_agreement

Rows = NDArray[np.int64]
IDENTITY = np.repeat(np.arange(5), 4)


def real_features(seed: int = 0) -> NDArray[np.float64]:
    """Images of five identities, each around a centre of its own."""
    random = np.random.default_rng(seed)
    return random.standard_normal((5, 8))[IDENTITY] + 0.2 * random.standard_normal((20, 8))


def crossed(count: int = 30) -> tuple[Rows, Rows]:
    """Pairs of two identities."""
    random = np.random.default_rng(1)
    pairs = random.integers(0, 20, (10 * count, 2))
    kept = pairs[IDENTITY[pairs[:, 0]] != IDENTITY[pairs[:, 1]]][:count]
    return kept[:, 0], kept[:, 1]


def test_the_judge_sees_what_a_search_by_hand_finds() -> None:
    real, (appearance, structure) = real_features(), crossed()
    generated = 0.6 * real[appearance] + 0.4 * real[structure]
    result = seen_identity(generated, appearance, structure, real=real, identity=IDENTITY)
    unit = real / np.linalg.norm(real, axis=1, keepdims=True)
    for row, (query, a, s) in enumerate(zip(generated, appearance, structure, strict=True)):
        query = query / np.linalg.norm(query)
        similarity = unit @ query
        similarity[[a, s]] = -2
        assert result.nearest[row] == similarity.argmax()
        assert result.is_appearance[row] == (IDENTITY[similarity.argmax()] == IDENTITY[a])
        assert result.is_structure[row] == (IDENTITY[similarity.argmax()] == IDENTITY[s])
        for donor, cosine in ((a, result.appearance_cosine[row]), (s, result.structure_cosine[row])):
            others = [k for k in np.flatnonzero(IDENTITY[donor] == IDENTITY) if k != donor]
            centre = unit[others].mean(axis=0)
            assert cosine == pytest.approx(query @ centre / np.linalg.norm(centre))


def test_copies_of_a_donor_show_whose_they_are() -> None:
    real, (appearance, structure) = real_features(), crossed()
    worn = seen_identity(real[appearance], appearance, structure, real=real, identity=IDENTITY).summary()
    copied = seen_identity(real[structure], appearance, structure, real=real, identity=IDENTITY).summary()
    assert worn["identity_rank1_appearance"] == copied["identity_rank1_structure"] == 1
    assert worn["identity_rank1_structure"] == copied["identity_rank1_appearance"] == 0
    assert worn["identity_cosine_appearance"] > 0.9 > worn["identity_cosine_structure"]


def test_a_donor_whose_identity_has_no_other_image_is_not_judged() -> None:
    real, identity = real_features(), IDENTITY.copy()
    identity[0] = 5
    rows = np.array([0, 4, 8, 4]), np.array([4, 0, 12, 12])
    result = seen_identity(real[[0, 4, 8, 4]], *rows, real=real, identity=identity)
    assert result.rows.tolist() == [2, 3]
    with pytest.raises(DgaugError, match="of none of 1 generated images"):
        seen_identity(real[:1], rows[0][:1], rows[1][:1], real=real, identity=identity)


def test_a_feature_too_few_is_refused() -> None:
    real = real_features()
    with pytest.raises(DgaugError, match="every image needs its feature"):
        seen_identity(real[:2], np.array([0, 4]), np.array([4, 8]), real=real[:19], identity=IDENTITY)


def test_agreement_is_counted_in_the_stored_labels() -> None:
    labels = np.array([[0.5, 0.25, 0.25], [0, 1, 0], [0.2, 0.2, 0.6]])
    result = teacher_agreement(labels, np.array([0, 1, 0]))
    assert result["teacher_is_appearance"] == pytest.approx(2 / 3)
    assert result["teacher_probability"] == pytest.approx((0.5 + 1 + 0.2) / 3)
    entropies = [1.5 * np.log(2), 0, -0.4 * np.log(0.2) - 0.6 * np.log(0.6)]
    assert result["teacher_entropy"] == pytest.approx(np.mean(entropies))


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (np.ones((2, 3)) / 3, np.zeros(3, np.int64), "M classes"),
        (np.array([[np.nan, 1.0]]), np.zeros(1, np.int64), "run dgaug verify"),
        (np.array([[-0.1, 1.1]]), np.zeros(1, np.int64), "below 0"),
    ],
)
def test_labels_that_are_none_are_refused(labels: NDArray[np.float64], classes: Rows, message: str) -> None:
    with pytest.raises(DgaugError, match=message):
        teacher_agreement(labels, classes)
