"""The scores of an encoder's features: named after it, at several counts, beside what real images reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from dgaug.scores.quality.encoders import INCEPTION_NAME, Encoder
from dgaug.scores.quality.feature_metrics import (
    Features,
    duplicate_scores,
    frechet_scores,
    kernel_scores,
    precision_scores,
)
from dgaug.scores.quality.feature_statistics import Statistics
from dgaug.scores.quality.frechet import Moments, frechet_distance, frechet_of_features
from dgaug.scores.quality.precision_recall import manifold_scores

ENCODER = Encoder("colour", 4, "c0" * 32, lambda pixels: pixels.float())


def cloud(seed: int, count: int, shift: float = 0.0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((count, 4)) + shift).float()


def statistics(features: Tensor, kept: int | None = None) -> Statistics:
    moments = Moments.empty(4)
    moments.update(features)
    return Statistics(moments, features[:kept], "key", ENCODER.sha256)


def distances(features: Features) -> set[str]:
    return {*frechet_scores(features, 0), *kernel_scores(features, 0)}


def test_value_and_floor_at_each_count_take_the_first_images() -> None:
    real, generated = cloud(0, 80), cloud(1, 96, shift=1.0)
    scores = frechet_scores(Features(ENCODER, statistics(generated), statistics(real)), 0)
    by_count = scores["frechet_colour_by_count"]
    assert list(by_count) == ["10", "20", "40"]
    assert by_count["20"]["generated"] == pytest.approx(frechet_of_features(generated[:20], real[:20]))
    assert by_count["20"]["real"] == pytest.approx(frechet_of_features(real[:20], real[20:40]))
    assert scores["frechet_colour"] == pytest.approx(frechet_of_features(generated, real))
    assert scores["frechet_colour_floor"] == by_count["40"]["real"] < scores["frechet_colour"]


def test_the_distance_takes_all_images_where_only_some_features_are_kept() -> None:
    real, generated = cloud(0, 80), cloud(1, 96, shift=1.0)
    some = Features(ENCODER, statistics(generated, 30), statistics(real, 30))
    scores = frechet_scores(some, 0)
    everything = frechet_distance(statistics(generated).moments, statistics(real).moments)
    assert scores["frechet_colour"] == pytest.approx(everything)
    assert list(scores["frechet_colour_by_count"]) == ["3", "7", "15"]


def test_precision_and_recall_are_taken_over_equal_counts() -> None:
    real, generated = cloud(0, 40), cloud(1, 60, shift=0.5)
    scores = precision_scores(Features(ENCODER, statistics(generated), statistics(real)), 0)
    expected = manifold_scores(real, generated[:40])
    assert scores == {f"{name}_colour": value for name, value in expected.items()}


def test_reconstructions_are_no_duplicates() -> None:
    real = cloud(0, 40)
    generated = torch.cat((real[:5], cloud(1, 20, shift=-3)))
    both = statistics(generated), statistics(real)
    counted = duplicate_scores(Features(ENCODER, *both), 0)
    crossed = duplicate_scores(Features(ENCODER, *both, torch.arange(5, 25)), 0)
    assert counted["duplicates_colour"] >= 5 / 25 > crossed["duplicates_colour"]


def test_only_the_inception_of_fid_gives_fid() -> None:
    inception = Encoder(INCEPTION_NAME, 4, "c0" * 32, ENCODER.extract)
    both = statistics(cloud(1, 40)), statistics(cloud(0, 40))
    names = distances(Features(inception, *both))
    assert names == {"fid", "fid_floor", "fid_by_count", "kid", "kid_spread"}
    others = distances(Features(ENCODER, *both))
    assert not any("fid" in name or "kid" in name for name in others)
