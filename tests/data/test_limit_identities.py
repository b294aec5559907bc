from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dgaug.data.layouts import open_data
from dgaug.data.prepare import limit_identities, limit_images, read_data
from dgaug.data.records import IdentityData, class_names
from dgaug.errors import DgaugError
from dgaug.settings import DataSettings


@pytest.fixture
def people(write_tree: Callable[[Iterable[str]], Path]) -> IdentityData:
    return open_data(write_tree([*(f"train/{k:02d}/{n}.bmp" for k in range(20) for n in (1, 2)), "query/99/1.bmp"]))


def test_the_first_identities_by_name_are_kept_with_all_their_images(people: IdentityData) -> None:
    limited = limit_identities(people, 3)
    assert class_names(limited.splits["train"]) == ["00", "01", "02"]
    assert len(limited.splits["train"]) == 6
    assert limited.splits["query"] == people.splits["query"]


def test_a_seed_gives_a_choice_that_repeats(people: IdentityData) -> None:
    choices = [class_names(limit_identities(people, 5, seed=seed).splits["train"]) for seed in (1, 1, 2)]
    assert choices[0] == choices[1] != choices[2]
    assert len(choices[0]) == 5


def test_more_than_there_are_keeps_all(people: IdentityData) -> None:
    assert limit_identities(people, 1000) == people
    assert limit_identities(people, 1000, seed=3) == people


def test_no_identity_at_all_is_refused(people: IdentityData) -> None:
    with pytest.raises(DgaugError, match="at least one"):
        limit_identities(people, 0)


def test_so_many_images_of_each_identity_are_kept_by_the_seed(people: IdentityData) -> None:
    choices = [limit_images(people, 1, seed=seed).splits["train"] for seed in (1, 1, 2)]
    assert choices[0] == choices[1] != choices[2]
    assert class_names(choices[0]) == class_names(people.splits["train"])
    assert len(choices[0]) == 20
    assert limit_images(people, 2, seed=1) == people
    assert limit_images(people, 1, seed=1).splits["query"] == people.splits["query"]


def test_settings_limit_what_is_read(people: IdentityData) -> None:
    settings = DataSettings(identities_fraction=0.25, images_per_identity=1, subset_seed=3)
    with pytest.raises(DgaugError, match="at least two are needed"):
        read_data(people.root, settings.model_copy(update={"identities_fraction": 0.01}))
    few, again = (read_data(people.root, settings).splits["train"] for _ in range(2))
    assert len(class_names(few)) == len(few) == 5
    assert few == again
    assert few != read_data(people.root, settings.model_copy(update={"subset_seed": 4})).splits["train"]


def test_no_image_at_all_is_refused(people: IdentityData) -> None:
    with pytest.raises(DgaugError, match="at least one image"):
        limit_images(people, 0, seed=0)


def test_a_share_of_the_images_holds_every_identity_and_grows(people: IdentityData) -> None:
    shares = [
        read_data(people.root, DataSettings(images_fraction=fraction, subset_seed=1)).splits["train"]
        for fraction in (0.1, 0.5, 0.75, 1)
    ]
    assert [len(share) for share in shares] == [20, 20, 30, 40]
    assert {len(class_names(share)) for share in shares} == {20}
    assert set(shares[1]) < set(shares[2]) < set(shares[3])
    each = DataSettings(per_identity_fraction=0.5, subset_seed=1)
    halves = read_data(people.root, each).splits["train"]
    assert [record.identity for record in halves] == class_names(halves)
    assert halves != read_data(people.root, each.model_copy(update={"subset_seed": 2})).splits["train"]
