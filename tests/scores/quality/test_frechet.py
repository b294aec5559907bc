import numpy as np
import pytest
import scipy.linalg
import torch

from dgaug.errors import DgaugError
from dgaug.scores.quality.frechet import Gaussian, Moments, frechet_distance, frechet_of_features


def moments_of(features):
    moments = Moments.empty(features.shape[1])
    moments.update(features)
    return moments


def features(seed, count=300, dimension=24):
    chance = np.random.default_rng(seed)
    return chance.standard_normal((count, dimension)) @ chance.standard_normal((dimension, dimension)) + seed


def test_moments_are_those_of_numpy():
    values = features(3)
    moments = moments_of(values)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(values, rowvar=False), rtol=1e-9, atol=1e-9)


def test_parts_added_up_equal_the_whole():
    values = features(3)
    parts = moments_of(values[:110])
    parts.update(torch.from_numpy(values[110:]))
    whole = moments_of(values)
    assert parts.count == whole.count == 300
    torch.testing.assert_close(parts.covariance, whole.covariance, rtol=1e-12, atol=1e-10)


def test_single_precision_features_are_summed_in_double_precision():
    values = (1000 + features(1, count=20_000, dimension=2) / 10).astype(np.float32)
    moments = Moments.empty(2)
    for start in range(0, len(values), 50):
        moments.update(values[start : start + 50])
    np.testing.assert_allclose(moments.covariance, np.cov(values.astype(np.float64), rowvar=False), rtol=1e-6)


@pytest.mark.parametrize("count", [300, 12])
def test_the_distance_is_that_of_a_general_matrix_square_root(count):
    one, other = moments_of(features(1, count)), moments_of(features(2, 400))
    root = scipy.linalg.sqrtm(one.covariance.numpy() @ other.covariance.numpy())
    expected = (
        np.square(one.mean - other.mean).sum()
        + np.trace(one.covariance)
        + np.trace(other.covariance)
        - 2 * np.trace(np.real(root))
    )
    # With 12 features for 24 dimensions the general root is the less exact of the two.
    assert frechet_distance(one, other) == pytest.approx(float(expected), rel=1e-9 if count == 300 else 1e-5)


def test_the_distance_of_commuting_gaussians_has_a_closed_form():
    one = Gaussian(
        torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64), torch.diag(torch.tensor([1.0, 4.0, 0.0]).double())
    )
    other = Gaussian(
        torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64), torch.diag(torch.tensor([9.0, 4.0, 25.0]).double())
    )
    assert frechet_distance(one, other) == pytest.approx(9 + (3 - 1) ** 2 + 0 + 25)
    assert frechet_distance(other, one) == pytest.approx(frechet_distance(one, other))


def test_a_set_is_at_no_distance_from_itself():
    moments = moments_of(features(5))
    assert 0.0 <= frechet_distance(moments, moments) < 1e-6


def test_statistics_of_pytorch_fid_can_be_compared_with(tmp_path):
    values = features(4)
    np.savez(tmp_path / "theirs.npz", mu=values.mean(axis=0), sigma=np.cov(values, rowvar=False))
    other = moments_of(features(6))
    theirs = Gaussian.load(tmp_path / "theirs.npz")
    assert frechet_distance(theirs, other) == pytest.approx(frechet_distance(moments_of(values), other), rel=1e-9)


def test_bad_statistics_and_features_are_named(tmp_path):
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    for path, message in ((tmp_path / "torn.npz", "not a statistics file"), (tmp_path / "none.npz", "no such")):
        with pytest.raises(DgaugError, match=message):
            Gaussian.load(path)
    moments = moments_of(features(1))
    with pytest.raises(DgaugError, match=r"expected features \[N, 24\]"):
        moments.update(np.zeros((3, 25)))
    with pytest.raises(DgaugError, match="NaN or infinity"):
        moments.update(np.full((3, 24), np.nan))
    with pytest.raises(DgaugError, match="24 and 3 numbers"):
        frechet_distance(moments, moments_of(features(1, dimension=3)))
    with pytest.raises(DgaugError, match="at least 2 images, found 0"):
        _ = Moments.empty(3).covariance


@pytest.mark.parametrize(("count", "other_count"), [(9, 12), (12, 9), (24, 24), (40, 9), (300, 280)])
def test_the_distance_of_features_is_that_of_their_moments(count, other_count):
    one, other = torch.from_numpy(features(1, count)), torch.from_numpy(features(2, other_count))
    expected = frechet_distance(moments_of(one), moments_of(other))
    assert frechet_of_features(one, other) == pytest.approx(expected, rel=1e-6)
    assert frechet_of_features(one.float(), other.float()) == pytest.approx(expected, rel=1e-4)
    assert frechet_of_features(one, one) == pytest.approx(0, abs=1e-6)


def test_statistics_with_nan_give_no_distance(tmp_path):
    np.savez(tmp_path / "nan.npz", mu=np.full(24, np.nan), sigma=np.eye(24))
    with pytest.raises(DgaugError, match="NaN or infinity in the statistics"):
        frechet_distance(Gaussian.load(tmp_path / "nan.npz"), moments_of(features(1)))
    with pytest.raises(DgaugError, match="24 and 3 numbers"):
        frechet_of_features(torch.zeros(4, 24), torch.zeros(4, 3))
