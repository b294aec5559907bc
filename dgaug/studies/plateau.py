"""Choosing how long an arm trains and at which learning rate, on identities that are held out from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgaug.errors import DgaugError

TOLERANCE = 0.01
"""mAP (0..1) within which a shorter training counts as good as the best one."""
STEPS = (0.5, 1.0, 2.0)
"""Lengths that are tried unless others are given, as multiples of `reid.iterations`."""
RATES = (0.3, 1.0)
"""Learning rates that are tried, as multiples of `reid.learning_rate`."""


@dataclass(frozen=True, order=True)
class Length:
    """Steps of a training, and its learning rate as a multiple of the settings'; ramps and decays are shares of it."""

    steps: int
    rate: float

    def __str__(self) -> str:
        return f"{self.steps} steps at {self.rate:g}"


@dataclass(frozen=True)
class Choice:
    """What is trained at a point, and from what that was chosen.

    Attributes:
        steps: of every arm.
        rates: by the arm that was tried.
        tried: mAP (sum, valid queries) on the held-out identities, by arm and length; empty: nothing was chosen.
        rising: arms whose longest training is better than the next shorter one by more than the tolerance, so that
            their plateau was not reached.
    """

    steps: int
    rates: Mapping[str, float]
    tried: Mapping[str, Mapping[Length, float]]
    rising: tuple[str, ...]

    def described(self) -> dict[str, object]:
        """For `results.json`."""
        tried = {arm: {str(length): value for length, value in values.items()} for arm, values in self.tried.items()}
        return {
            "steps": self.steps,
            "learning_rate_factors": dict(self.rates),
            "held_out_mAP": tried,
            "still_rising": list(self.rising),
        }


def lengths_of(steps: str | Sequence[int] | None, rates: str | Sequence[float] | None, iterations: int) -> list[Length]:
    """Every combination of the lengths and learning rates to try, from texts such as `200,400`.

    Raises:
        DgaugError: not whole numbers above 0, or rates that are no numbers above 0.
    """
    counts = _numbers(steps, "--steps", "whole numbers from 1 on, such as 200,400,800", whole=True)
    factors = _numbers(rates, "--rates", "numbers above 0, such as 0.3,1", whole=False)
    return [
        Length(int(count), factor)
        for count in counts or sorted({max(1, round(share * iterations)) for share in STEPS})
        for factor in factors or RATES
    ]


def _numbers(given: str | Sequence[float] | None, option: str, expected: str, *, whole: bool) -> list[float]:
    if given is None:
        return []
    texts = [text.strip() for text in given.split(",")] if isinstance(given, str) else list(given)
    try:
        numbers = sorted({float(text) for text in texts})
    except ValueError:
        numbers = [0.0]
    if not numbers or not all(0 < number < 1e9 and (not whole or number.is_integer()) for number in numbers):
        shown = given if isinstance(given, str) else ",".join(map(str, given))
        raise DgaugError(f"{option} {shown}: expected {expected}")
    return numbers


def choose(tried: Mapping[str, Mapping[Length, float]]) -> Choice:
    """One number of steps for all arms: enough for the plateau of each; the learning rate that is best there, by arm.

    An arm's plateau begins at its shortest training that is no more than `TOLERANCE` below its best.
    """
    best = {arm: _best_by_steps(values) for arm, values in tried.items()}
    steps = max(
        min(count for count, value in by_steps.items() if value >= max(by_steps.values()) - TOLERANCE)
        for by_steps in best.values()
    )
    rates = {}
    for arm, values in tried.items():
        at_these = {length.rate: value for length, value in values.items() if length.steps == steps}
        rates[arm] = max(at_these, key=lambda rate: (at_these[rate], rate))
    return Choice(steps, rates, tried, tuple(arm for arm, by_steps in best.items() if _rising(by_steps)))


def _best_by_steps(values: Mapping[Length, float]) -> dict[int, float]:
    best: dict[int, float] = {}
    for length, value in sorted(values.items()):
        best[length.steps] = max(value, best.get(length.steps, value))
    return best


def _rising(by_steps: Mapping[int, float]) -> bool:
    counts = sorted(by_steps)
    return len(counts) > 1 and by_steps[counts[-1]] > max(by_steps[count] for count in counts[:-1]) + TOLERANCE
