"""Whether data are enough to train on, and which image size fits them."""

from __future__ import annotations

import pytest

from dgaug.data.fitness import fitting_size, too_few
from dgaug.data.records import Record


def people(*counts: int) -> list[Record]:
    return [
        Record(f"{person}/{image}.jpg", str(person)) for person, count in enumerate(counts) for image in range(count)
    ]


def test_too_few_identities_or_images_are_said() -> None:
    assert too_few(people(*[4] * 20)) == []
    assert too_few(people(*[1] * 10, *[4] * 10)) == []
    assert "few identities: 19" in too_few(people(*[4] * 19))[0]
    assert "every identity has one image only" in too_few(people(*[1] * 30))[0]
    assert "16 of 30 identities have one image only" in too_few(people(*[1] * 16, *[2] * 14))[0]
    assert too_few(people(9)) == [
        "too few to train: 1 identity; at least two are needed to learn what tells them apart"
    ]


@pytest.mark.parametrize(
    ("size", "ratio", "fitting"),
    [
        ((256, 128), 2.0, (256, 128)),
        ((256, 128), 2.9, (256, 128)),
        ((256, 128), 1.0, (176, 176)),
        ((128, 64), 0.5, (64, 128)),
        ((128, 64), 30.0, (496, 32)),
        ((128, 64), 2100.0, (4096, 32)),
        ((256, 256), 2.0, (368, 176)),
    ],
)
def test_the_size_follows_the_shape_of_the_images(
    size: tuple[int, int], ratio: float, fitting: tuple[int, int]
) -> None:
    assert fitting_size(size, ratio) == fitting
