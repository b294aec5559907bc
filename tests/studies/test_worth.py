"""What images are worth: a monotone curve read backwards, with an interval over repeats."""

from __future__ import annotations

import numpy as np
import pytest

from dgaug.errors import DgaugError
from dgaug.studies.plateau import Length, choose, lengths_of
from dgaug.studies.worth import equivalent, isotonic, worth

PLACES = np.log([100.0, 200.0, 400.0])


def test_neighbours_in_the_wrong_order_are_pooled() -> None:
    assert isotonic(np.array([1.0, 3.0, 2.0, 4.0])).tolist() == [1.0, 2.5, 2.5, 4.0]
    assert isotonic(np.array([3.0, 2.0, 1.0])).tolist() == [2.0, 2.0, 2.0]


def test_the_curve_is_read_between_its_points_and_not_beyond_them() -> None:
    curve = np.array([0.2, 0.4, 0.5])
    assert np.exp(equivalent(PLACES, curve, 0.4)) == pytest.approx(200)
    assert np.exp(equivalent(PLACES, curve, 0.3)) == pytest.approx(200**0.5 * 100**0.5)
    assert np.exp(equivalent(PLACES, curve, 0.2)) == pytest.approx(100)
    assert equivalent(PLACES, curve, 0.6) == np.inf
    assert equivalent(PLACES, curve, 0.1) == -np.inf


def test_a_gain_of_one_step_of_the_curve_is_worth_that_step() -> None:
    noise = np.array([-0.02, -0.01, 0.0, 0.01, 0.02])
    real = [0.2 + noise, 0.4 + noise, 0.5 + noise]
    found = worth([100, 200, 400], real, 0.4 + noise, 100)
    assert (found.equivalent, found.more) == (pytest.approx(200), pytest.approx(100))
    assert found.low == pytest.approx(200)
    assert found.high == pytest.approx(200), "paired: the same repeats are resampled on both sides"
    unpaired = worth([100, 200, 400], real, 0.4 - noise, 100)
    assert 100 < unpaired.low < 190 < 210 < unpaired.high <= 400
    assert found.described()["factor"] == pytest.approx(2)


def test_what_lies_beyond_the_curve_is_a_bound() -> None:
    noise = np.array([-0.02, 0.0, 0.02])
    real = [0.2 + noise, 0.4 + noise]
    above = worth([100, 200], real, 0.5 - noise, 100)
    assert (above.equivalent, above.beyond, above.high_beyond) == (200, "above", "above")
    below = worth([100, 200], real, 0.1 + noise, 100)
    assert (below.equivalent, below.beyond, below.low_beyond) == (100, "below", "below")


def test_the_shortest_training_on_the_plateau_of_both_is_taken_at_the_best_rate_of_each() -> None:
    lengths = lengths_of("400,100,200", "1,0.3", 0)
    assert lengths == [Length(steps, rate) for steps in (100, 200, 400) for rate in (0.3, 1.0)]
    real = dict(zip(lengths, (0.3, 0.49, 0.4, 0.495, 0.5, 0.45), strict=True))
    fed = dict(zip(lengths, (0.3, 0.4, 0.55, 0.5, 0.556, 0.5), strict=True))
    choice = choose({"real": real, "generated": fed})
    assert choice.steps == 200
    assert choice.rates == {"real": 1.0, "generated": 0.3}
    assert choice.rising == ()
    assert choose({"real": {Length(1, 1): 0.1, Length(2, 1): 0.2}}).rising == ("real",)
    assert [one.steps for one in lengths_of(None, "1", 400)] == [200, 400, 800]
    with pytest.raises(DgaugError, match=r"--steps 1\.5: expected whole numbers"):
        lengths_of("1.5", None, 10)
    with pytest.raises(DgaugError, match="--rates 0: expected numbers above 0"):
        lengths_of(None, "0", 10)
