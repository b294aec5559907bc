"""Everything that changes with the iteration, as functions of it alone (method: schedules).

Pure functions of the iteration; nothing to restore on resume.
"""

from __future__ import annotations

from dgaug.settings import LossSettings, ScheduleSettings

FULL_RAMP = 2.0
"""`ramp_length` is the time from weight 0 to this one; every ramped term grows at the same rate."""


def ramped(maximum: float, iteration: int, schedule: ScheduleSettings) -> float:
    """Weight of a ramped term at a 0-based iteration: 0 until the ramp starts, then linear up to `maximum`."""
    start = round(schedule.ramp_start * schedule.iterations)
    rate = FULL_RAMP / max(1, round(schedule.ramp_length * schedule.iterations))
    return min(maximum, max(0.0, rate * (iteration - start)))


def weights(loss: LossSettings, schedule: ScheduleSettings, iteration: int) -> dict[str, float]:
    """Weights by term at an iteration; a term without weight is absent.

    As published, a ramped term enters one iteration after its weight left zero, and the fine term on real
    images uses the weight of the iteration before.
    """

    def ramp(maximum: float) -> float:
        return ramped(maximum, iteration, schedule) if ramped(maximum, iteration - 1, schedule) > 0 else 0.0

    judged = iteration >= round(schedule.adversarial_start * schedule.iterations)
    table = {
        "adversarial": loss.adversarial if judged else 0.0,
        "reconstruction": loss.reconstruction,
        "same_identity": loss.same_identity,
        "identification": loss.identification,
        "positive": loss.positive,
        "generated_identity": loss.generated_identity,
        "teacher_identity": loss.teacher_identity,
        "teacher_feature": loss.teacher_feature,
        "structure_code": ramp(loss.structure_code),
        "appearance_code": ramp(loss.appearance_code),
        "cycle": ramp(loss.cycle),
        "teacher": ramp(loss.teacher),
        "fine": loss.fine * ramp(loss.teacher),
        "real_fine": loss.identification * loss.fine * ramped(loss.teacher, iteration - 1, schedule),
    }
    return {term: weight for term, weight in table.items() if weight > 0}


def decay(milestones: tuple[float, ...], gamma: float, iteration: int, iterations: int) -> float:
    """Learning-rate factor at an iteration: `gamma` for each milestone (a fraction of the run) reached."""
    return float(gamma ** sum(iteration + 1 >= round(milestone * iterations) for milestone in milestones))


def warmup(share: float, iteration: int, iterations: int) -> float:
    """Learning-rate factor that rises linearly from 0.1 to 1 in the first `share` of the run."""
    length = round(share * iterations)
    return min(1.0, 0.1 + 0.9 * iteration / length) if length else 1.0
