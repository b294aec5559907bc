"""Structure consistency: scikit-image's measures of the grey images, high for the donor that was kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.filters import sobel
from skimage.metrics import structural_similarity

from dgaug.errors import DgaugError
from dgaug.runs import Run
from dgaug.scores.quality.image_sets import Sample, donor_images
from dgaug.scores.quality.oracle import true_images
from dgaug.scores.quality.ssim import ssim_parameters
from dgaug.scores.quality.structure_consistency import (
    APPEARANCE_DONOR,
    STRUCTURE_DONOR,
    sobel_magnitude,
    structure_consistency,
)
from dgaug.store.read import open_store

Pixels = NDArray[np.uint8]


def images(seed: int, count: int = 4) -> Pixels:
    """Patches of colour with noise."""
    chance = np.random.default_rng(seed)
    patches = np.kron(chance.integers(20, 235, (count, 8, 4, 3)), np.ones((1, 4, 4, 1)))
    return np.clip(patches + chance.normal(0, 4, patches.shape), 0, 255).astype(np.uint8)


def test_edges_are_those_of_scikit_image() -> None:
    grey = images(1).mean(axis=3)
    result = sobel_magnitude(torch.from_numpy(grey)[:, None])[:, 0]
    expected = np.stack([sobel(image) for image in grey])[:, 1:-1, 1:-1]
    np.testing.assert_allclose(result / result.max(), expected / expected.max(), atol=1e-12)


def test_the_figures_are_means_of_the_measures_of_each_grey_image() -> None:
    generated, structure, appearance = images(1), images(2), images(3)
    result = structure_consistency(generated, structure, appearance)
    for name, donor in ((STRUCTURE_DONOR, structure), (APPEARANCE_DONOR, appearance)):
        pairs = list(zip(generated.mean(axis=3), donor.mean(axis=3), strict=True))
        edges = [[sobel(image)[1:-1, 1:-1].ravel() for image in pair] for pair in pairs]
        expected = {
            "grey_ssim": np.mean([structural_similarity(*pair, data_range=255, **ssim_parameters()) for pair in pairs]),
            "grey_correlation": np.mean([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in pairs]),
            "edge_correlation": np.mean([np.corrcoef(x, y)[0, 1] for x, y in edges]),
        }
        assert result[name] == pytest.approx(expected, abs=1e-10)


def test_a_copied_donor_is_kept_and_the_other_is_not() -> None:
    structure, appearance = images(2), images(3)
    result = structure_consistency(structure, structure, appearance)
    assert list(result[STRUCTURE_DONOR].values()) == pytest.approx([1, 1, 1])
    assert max(result[APPEARANCE_DONOR].values()) < 0.5
    turned = structure_consistency(appearance, structure, appearance)
    assert turned[APPEARANCE_DONOR] == pytest.approx(result[STRUCTURE_DONOR])


def test_correlation_is_blind_to_brightness_and_contrast_and_ssim_is_not() -> None:
    structure = images(2)
    faded = (structure // 2 + 60).astype(np.uint8)
    result = structure_consistency(faded, structure, images(3))[STRUCTURE_DONOR]
    assert result["grey_correlation"] > 0.999
    assert result["edge_correlation"] > 0.999
    assert result["grey_ssim"] < 0.9


@pytest.mark.parametrize("level", [0, 100, 255])
def test_an_image_of_one_grey_correlates_with_nothing(level: int) -> None:
    blank = np.full_like(images(1), level)
    for figures in structure_consistency(blank, images(2), images(3)).values():
        assert figures["grey_correlation"] == figures["edge_correlation"] == 0
        assert np.isfinite(figures["grey_ssim"])


def test_the_true_images_of_the_embedded_data_keep_the_structure_donor(tiny_run: Run) -> None:
    sources, root = open_store(tiny_run.store).sources, tiny_run.data_root()
    appearance, structure = np.arange(0, 24, 2), np.roll(np.arange(0, 24, 2), 5)
    blank = Sample(np.zeros((12, 64, 32, 3), np.uint8), appearance, structure)
    true = true_images(blank, sources, root)
    donors = (donor_images(sources, rows, root, (64, 32)) for rows in (structure, appearance))
    result = structure_consistency(true, *donors)
    for name, kept in result[STRUCTURE_DONOR].items():
        assert kept > 0.5 > result[APPEARANCE_DONOR][name], name


def test_images_that_do_not_belong_together_are_named() -> None:
    whole = images(1)
    with pytest.raises(DgaugError, match="of one shape"):
        structure_consistency(whole, whole[:, 1:], whole)
    with pytest.raises(DgaugError, match="float64"):
        structure_consistency(whole, whole, whole.astype(float))  # type: ignore[arg-type]
    with pytest.raises(DgaugError, match="of one shape"):
        structure_consistency(whole[:0], whole[:0], whole[:0])
