import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from dgaug.errors import DgaugError
from dgaug.scores.quality.ssim import ssim


def images(count=3, height=40, width=24, seed=0):
    """Smooth shapes, and the same with noise that grows from image to image."""
    chance = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / height
    clean = np.stack(
        [np.stack([np.sin(5 * rows + k + c) * np.cos(7 * columns) for c in range(3)], -1) for k in range(count)]
    )
    noise = chance.standard_normal(clean.shape) * np.linspace(0.02, 0.5, count)[:, None, None, None]
    return np.clip(clean / 2 + 0.5, 0, 1), np.clip((clean + noise) / 2 + 0.5, 0, 1)


def reference(first, second, data_range, **options):
    return [
        structural_similarity(x, y, data_range=data_range, channel_axis=-1, **options)
        for x, y in zip(first, second, strict=True)
    ]


GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


@pytest.mark.parametrize(("window", "options"), [("gaussian", GAUSSIAN), ("uniform", {})])
def test_each_image_has_the_ssim_of_scikit_image(window, options):
    clean, noisy = images()
    result = ssim(clean, noisy, window=window)
    np.testing.assert_allclose(result, reference(clean, noisy, 1.0, **options), atol=1e-10)
    assert result[0] > result[1] > result[2]


def test_bytes_are_measured_on_their_own_range():
    clean, noisy = (np.round(255 * values).astype(np.uint8) for values in images())
    np.testing.assert_allclose(ssim(clean, noisy), reference(clean, noisy, 255, **GAUSSIAN), atol=1e-5)


def test_an_image_is_like_itself_and_the_range_can_be_given():
    clean, noisy = images()
    torch.testing.assert_close(ssim(clean, clean), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(ssim(100 * clean, 100 * noisy, data_range=100.0), ssim(clean, noisy))


def test_images_that_cannot_be_compared_are_named():
    clean, noisy = images()
    with pytest.raises(DgaugError, match="one shape and type"):
        ssim(clean, noisy[:, :-1])
    with pytest.raises(DgaugError, match="one shape and type"):
        ssim(clean, noisy.astype(np.float32))
    with pytest.raises(DgaugError, match="at least 11 pixels"):
        ssim(clean[:, :10], noisy[:, :10])
