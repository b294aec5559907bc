"""The sliders of the report: frames between two donors' codes, drawn before the page is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dgaug.data.records import Record
from dgaug.models.checkpoints import TrainedGenerator
from dgaug.pictures.sheet import Pixels
from dgaug.report.embedding import picture_uri
from dgaug.synthesis.interpolation import WHAT, draw_between

PAIRS, STEPS = 2, 11


@dataclass(frozen=True)
class Slider:
    """The way from one donor's code to another's.

    Attributes:
        what: the code that changes, `appearance` or `structure`.
        first, second: the donors' paths.
        frames: as data URIs, [2][STEPS]; row r keeps the other code of donor r.
    """

    what: str
    first: str
    second: str
    frames: list[list[str]]


def sliders(model: TrainedGenerator, records: Sequence[Record], donors: Pixels) -> list[Slider]:
    """Both sliders of the first pairs of donors: records [N], pictures uint8 [N, H, W, 3]."""
    weights = [step / (STEPS - 1) for step in range(STEPS)]
    found = []
    for start in range(0, min(2 * PAIRS, len(records) - 1), 2):
        first, second = records[start : start + 2]
        for what in WHAT:
            drawn = draw_between(model, donors[start : start + 2], weights, what=what)
            frames = [[picture_uri(pixels) for pixels in row] for row in drawn]
            found.append(Slider(what, first.path, second.path, frames))
    return found
