"""Random erasing: how often, how much, where, and always the same for the same draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dgaug.training.augmentation import erase, sample_boxes

HEIGHT, WIDTH, COUNT = 64, 32, 2000


def erased_at_random(images: torch.Tensor, probability: float, rng: np.random.Generator) -> torch.Tensor:
    return erase(images, sample_boxes(len(images), (HEIGHT, WIDTH), probability, rng))


@pytest.fixture(scope="module")
def boxes() -> np.ndarray:
    """Top, left, rows and columns of every box that was erased from images of ones."""
    erased = erased_at_random(torch.ones(COUNT, 3, HEIGHT, WIDTH), 0.5, np.random.default_rng(0))
    assert erased.unique().tolist() == [0.0, 1.0]
    result = []
    for image in erased.numpy():
        rows, columns = np.nonzero(image[0] == 0)
        if len(rows):
            box = rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1
            assert (image == 0).sum() == 3 * box[2] * box[3], "the box is filled, in all three channels"
            result.append(box)
    return np.array(result)


def test_half_of_the_images_lose_a_box(boxes: np.ndarray) -> None:
    assert len(boxes) / COUNT == pytest.approx(0.5, abs=0.04)


def test_areas_are_uniform_up_to_what_fits(boxes: np.ndarray) -> None:
    area = boxes[:, 2] * boxes[:, 3] / (HEIGHT * WIDTH)
    assert 0.01 < area.min() < 0.03
    assert 0.35 < area.max() < 0.42
    assert ((area < 0.2).mean()) == pytest.approx(0.18 / 0.38, abs=0.08)


def test_boxes_are_strictly_smaller_than_the_image_and_reach_every_edge(boxes: np.ndarray) -> None:
    top, left, rows, columns = boxes.T
    assert rows.max() < HEIGHT
    assert columns.max() < WIDTH
    assert (top.min(), left.min()) == (0, 0)
    assert ((top + rows).max(), (left + columns).max()) == (HEIGHT, WIDTH)


def test_the_aspect_ratio_is_uniform_not_log_uniform(boxes: np.ndarray) -> None:
    small = boxes[boxes[:, 2] * boxes[:, 3] < 0.08 * HEIGHT * WIDTH]  # where every ratio fits
    aspect = small[:, 2] / small[:, 3]
    assert 0.25 < aspect.min() < 0.45
    assert 3.0 < aspect.max() < 4.0
    assert np.median(aspect) == pytest.approx((0.3 + 1 / 0.3) / 2, abs=0.25)


def test_equal_draws_erase_equally_and_the_input_stays() -> None:
    images = torch.randn(8, 3, HEIGHT, WIDTH)
    before = images.clone()
    first, second = (erased_at_random(images, 0.5, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(images, before)
    assert not torch.equal(first, erased_at_random(images, 0.5, np.random.default_rng(4)))


def test_probability_zero_erases_nothing_and_one_erases_every_image() -> None:
    images = torch.ones(50, 3, HEIGHT, WIDTH)
    assert torch.equal(erased_at_random(images, 0.0, np.random.default_rng(0)), images)
    assert (erased_at_random(images, 1.0, np.random.default_rng(0)) == 0).flatten(1).any(dim=1).all()
