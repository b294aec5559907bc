import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from dgaug.errors import DgaugError
from dgaug.scores.quality.diversity import diversity_dssim, srgb_to_lab


def folders(seed=0, identities=4, count=5, noise=60):
    chance = np.random.default_rng(seed)
    made = {}
    for identity in range(identities):
        base = np.kron(chance.integers(40, 215, (4, 2, 3)), np.ones((8, 8, 1)))
        made[f"{identity:04d}"] = [
            np.clip(base + chance.normal(0, noise, base.shape), 0, 255).astype(np.uint8) for _ in range(count)
        ]
    return made


def test_lab_is_that_of_scikit_image():
    colours = np.random.default_rng(0).integers(0, 256, (500, 3)).astype(np.uint8)
    colours[:3] = [[0, 0, 0], [255, 255, 255], [3, 2, 1]]
    np.testing.assert_allclose(srgb_to_lab(torch.from_numpy(colours)), rgb2lab(colours), atol=1e-3)


def test_two_images_give_the_published_dissimilarity_of_that_pair():
    first, second = folders(identities=1, count=2)["0000"]
    similarity = structural_similarity(rgb2lab(first), rgb2lab(second), data_range=100, channel_axis=-1)
    result = diversity_dssim({"0000": [first, second]}, seed=3, pairs=2, rounds=2)
    assert result == pytest.approx((1 - similarity) / 2, abs=1e-5)


def test_the_figure_is_the_middle_of_the_running_means_over_rounds():
    images = folders(identities=3)
    chance = np.random.default_rng(7)
    values, running_means = [], []
    for _ in range(4):
        for name in sorted(images):
            for _ in range(2):
                first, second = (rgb2lab(images[name][k]) for k in chance.choice(5, 2, replace=False))
                values.append((1 - structural_similarity(first, second, data_range=100, channel_axis=-1)) / 2)
        running_means.append(np.mean(values))
    expected = (max(running_means) + min(running_means)) / 2
    assert expected != pytest.approx(running_means[-1], abs=1e-4)
    assert diversity_dssim(images, seed=7, pairs=2, rounds=4) == pytest.approx(expected, abs=1e-5)


def test_it_grows_with_the_difference_and_is_nothing_for_copies():
    calm, wild = (diversity_dssim(folders(noise=noise), seed=0) for noise in (5, 60))
    assert 0 < calm < wild < 1
    copies = {name: images[:1] * 3 for name, images in folders().items()}
    assert diversity_dssim(copies, seed=0) == pytest.approx(0, abs=1e-6)


def test_it_follows_the_seed_and_not_the_order_of_the_identities():
    images = folders()
    backwards = dict(reversed(list(images.items())))
    assert diversity_dssim(images, seed=0) == diversity_dssim(backwards, seed=0)
    assert diversity_dssim(images, seed=0) != diversity_dssim(images, seed=1)


def test_an_identity_with_one_image_is_left_out():
    images = folders()
    alone = images | {"9999": [np.zeros((32, 16, 3), np.uint8)]}
    assert diversity_dssim(alone, seed=0) == diversity_dssim(images, seed=0)
    with pytest.raises(DgaugError, match="found 0 of 1 identities with two"):
        diversity_dssim({"9999": alone["9999"]}, seed=0)


def test_images_of_two_sizes_in_one_identity_are_named():
    first, second = folders(identities=1, count=2)["0000"]
    with pytest.raises(DgaugError, match="must have one size"):
        diversity_dssim({"0000": [first, second[:-1]]}, seed=0)
