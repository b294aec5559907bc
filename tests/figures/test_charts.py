"""Clouds: the plane that shows most of the real features, and where the generated ones lie in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dgaug.errors import DgaugError
from dgaug.figures.charts import Plane, clouds, save_figure


def features(seed: int, count: int = 80, shift: float = 0.0) -> NDArray[np.float64]:
    """Features of 6 numbers that vary most along the second, then the fifth."""
    scale = np.array([0.1, 5, 0.1, 0.1, 2, 0.1])
    return np.random.default_rng(seed).standard_normal((count, 6)) * scale + shift


def test_the_plane_is_that_of_a_singular_value_decomposition() -> None:
    real = features(0)
    plane = Plane.of(real)
    centred = real - real.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(plane.axes.T @ directions[:2].T), np.eye(2), atol=1e-9)
    np.testing.assert_allclose(plane.explained, (lengths**2 / (lengths**2).sum())[:2])
    np.testing.assert_allclose(np.abs(plane.project(real)), np.abs(centred @ directions[:2].T), atol=1e-9)
    assert plane.axes[1, 0] > 0.9 < plane.axes[4, 1], "the largest number of an axis is positive"


def test_generated_features_do_not_turn_the_plane() -> None:
    real = features(0)
    alone, beside = clouds(real, real, encoder="colour"), clouds(real, features(1, shift=50), encoder="colour")
    points = [figure.axes[0].collections[0].get_offsets() for figure in (alone, beside)]
    np.testing.assert_array_equal(*points)
    generated = np.asarray(beside.axes[0].collections[2].get_offsets())
    assert np.abs(generated).mean() > 20, "they lie far from the real ones"


def test_a_figure_names_its_encoder_and_its_counts_and_is_written_whole(tmp_path: Path) -> None:
    figure = clouds(features(0), features(1, count=7), encoder="colour")
    assert figure.axes[0].get_title() == "Features: colour"
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["real (80)", "generated (7)"]
    with Image.open(save_figure(figure, tmp_path / "new" / "clouds.png")) as image:
        colours = {tuple(colour) for colour in np.asarray(image.convert("RGB")).reshape(-1, 3).tolist()}
        assert (255, 255, 255) in colours
        assert len(colours) > 20
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["clouds.png"]


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    files = [tmp_path / "one.svg", tmp_path / "other.svg"]
    for path in files:
        save_figure(clouds(features(0), features(1), encoder="colour"), path)
    assert "matplotlib" in files[0].read_text(encoding="utf-8")
    assert "<dc:date>" not in files[0].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        (features(0, count=2), features(1), "at least 3 real features of 2 numbers, found 2 of 6"),
        (np.ones((5, 6)), features(1), "all real features are the same"),
        (features(0), features(1)[:, :5], "real features of 6 numbers, generated of 5"),
        (features(0) * np.nan, features(1), "NaN among them"),
    ],
)
def test_features_without_a_plane_are_refused(
    real: NDArray[np.float64], generated: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(DgaugError, match=message):
        clouds(real, generated, encoder="colour")
