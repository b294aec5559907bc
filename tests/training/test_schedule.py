"""Weights and learning rates of the published schedule, iteration by iteration."""

from __future__ import annotations

import numpy as np
import pytest

from dgaug.settings import LossSettings, ScheduleSettings, load_settings
from dgaug.training.schedule import decay, ramped, warmup, weights

PUBLISHED = ScheduleSettings()
CONSTANT = {
    "adversarial": 1.0,
    "reconstruction": 5.0,
    "same_identity": 5.0,
    "identification": 1.0,
    "positive": 1.0,
    "generated_identity": 0.5,
}


def at(iteration: int) -> dict[str, float]:
    return weights(LossSettings(), PUBLISHED, iteration)


def test_the_default_schedule_is_the_published_one() -> None:
    published = load_settings("dgnet-published")
    assert published.schedule == PUBLISHED
    assert published.loss == LossSettings()
    assert PUBLISHED.iterations == 100_000


@pytest.mark.parametrize("iteration", [0, 29_999, 30_000, 30_001])
def test_before_the_ramps_only_the_constant_terms_are_there(iteration: int) -> None:
    assert at(iteration) == CONSTANT


@pytest.mark.parametrize(
    ("iteration", "structure_code", "teacher", "real_fine"),
    [
        (30_002, 0.001, 0.001, 0.2 * 0.0005),
        (30_003, 0.0015, 0.0015, 0.2 * 0.001),
        (31_000, 0.5, 0.5, 0.2 * 0.4995),
        (32_000, 1.0, 1.0, 0.2 * 0.9995),
        (33_000, 1.0, 1.5, 0.2 * 1.4995),
        (34_000, 1.0, 2.0, 0.2 * 1.9995),
        (34_001, 1.0, 2.0, 0.4),
        (99_999, 1.0, 2.0, 0.4),
    ],
)
def test_ramps_grow_by_the_published_step_to_their_own_maxima(
    iteration: int, structure_code: float, teacher: float, real_fine: float
) -> None:
    expected = CONSTANT | {
        "structure_code": structure_code,
        "cycle": teacher,
        "teacher": teacher,
        "fine": 0.2 * teacher,
        "real_fine": real_fine,
    }
    assert at(iteration) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("iteration", [0, 29_999, 30_000, 30_001, 32_000, 34_000, 60_000])
def test_the_weight_is_the_published_formula(iteration: int) -> None:
    expected = min(2.0, max(0.0, 0.0005 * (iteration - 30_000)))
    assert ramped(2.0, iteration, PUBLISHED) == pytest.approx(expected)


def test_a_term_that_is_switched_off_is_absent() -> None:
    table = weights(LossSettings(teacher=0, cycle=0, adversarial=0), PUBLISHED, 50_000)
    assert not table.keys() & {"teacher", "fine", "real_fine", "cycle", "adversarial"}


def test_the_adversarial_term_begins_where_it_is_asked_for() -> None:
    late = ScheduleSettings(iterations=10, adversarial_start=0.7)
    assert ["adversarial" in weights(LossSettings(), late, iteration) for iteration in (0, 6, 7, 9)] == [0, 0, 1, 1]


def test_a_shorter_run_keeps_the_shape_of_the_schedule() -> None:
    short = ScheduleSettings(iterations=1000)
    for share in (0.1, 0.31, 0.32, 0.35, 0.9):
        result = weights(LossSettings(), short, int(share * 1000))
        assert result == pytest.approx(at(int(share * 100_000)), abs=0.06)


@pytest.mark.parametrize(
    ("iteration", "factor"),
    [(0, 1), (59_998, 1), (59_999, 0.1), (60_000, 0.1), (89_998, 0.1), (89_999, 0.01), (99_999, 0.01)],
)
def test_learning_rates_fall_tenfold_at_60000_and_90000(iteration: int, factor: float) -> None:
    # The published schedulers step before the optimiser, hence one iteration early.
    assert decay(PUBLISHED.milestones, PUBLISHED.gamma, iteration, 100_000) == pytest.approx(factor)


def test_warm_up_rises_from_a_tenth_to_one() -> None:
    rates = [warmup(0.2, iteration, 100) for iteration in range(25)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(0.55)
    assert rates[20:] == [1.0] * 5
    assert np.diff(rates[:21]) == pytest.approx(np.full(20, 0.045))
    assert warmup(0, 0, 100) == 1.0
