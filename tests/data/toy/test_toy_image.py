import dataclasses
from typing import Any

import numpy as np
import pytest

from dgaug.data.toy import Appearance, Structure, clothed_body, render
from dgaug.data.toy.appearance import Bag, Lower, Pattern, Upper
from dgaug.data.toy.structure import Hair
from dgaug.errors import DgaugError

SIZE = (64, 32)


PLAIN = dataclasses.replace(
    Appearance.of(0, 1),
    upper=Upper.TSHIRT,
    upper_colour=(190, 48, 50),
    pattern=Pattern.PLAIN,
    lower=Lower.TROUSERS,
    side_stripe=False,
    bag=Bag.NONE,
)


def dressed(**changes: Any) -> Appearance:
    return dataclasses.replace(PLAIN, **changes)


def seen_from(degrees: float, *, hair: Hair = Hair.SHORT) -> Structure:
    structure = Structure.of(0, 1, 1, 0)
    return dataclasses.replace(
        structure,
        pose=dataclasses.replace(structure.pose, facing=np.radians(degrees), stride=0.3),
        body=dataclasses.replace(structure.body, hair=hair),
    )


def close_to(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return np.abs(image.astype(int) - colour).max(axis=-1) < 45


@pytest.mark.parametrize("size", [(64, 32), (128, 64), (256, 128), (96, 96), (17, 40)])
def test_an_image_has_the_size_asked_for(size: tuple[int, int]) -> None:
    appearance, structure = Appearance.of(0, 3), Structure.of(0, 3, 2, 1)
    image, body = render(appearance, structure, size), clothed_body(appearance, structure, size)
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8
    assert body.shape == size
    assert body.dtype == np.float32


def test_a_larger_image_shows_the_same_scene() -> None:
    appearance, structure = Appearance.of(0, 3), Structure.of(0, 3, 2, 1)
    small, large = (render(appearance, structure, size).astype(int) for size in ((64, 32), (128, 64)))
    reduced = large.reshape(64, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(reduced - small).mean() < 4


def test_equal_seeds_draw_equal_images_and_other_seeds_other_people() -> None:
    first = render(Appearance.of(5, 2), Structure.of(5, 2, 1, 3), SIZE)
    again = render(Appearance.of(5, 2), Structure.of(5, 2, 1, 3), SIZE)
    assert np.array_equal(first, again)
    assert [Appearance.of(5, k) for k in range(20)] != [Appearance.of(6, k) for k in range(20)]


def test_the_body_is_the_identitys_and_the_scene_the_cameras() -> None:
    assert Structure.of(0, 4, 1, 0).body == Structure.of(0, 4, 3, 7).body
    here, there = Structure.of(0, 4, 2, 0), Structure.of(0, 9, 2, 5)
    assert here.scene.kind == there.scene.kind
    assert here.scene.camera_seed == there.scene.camera_seed
    assert Structure.of(0, 4, 2, 0).pose != Structure.of(0, 4, 2, 1).pose


def test_only_what_is_worn_changes_with_the_appearance() -> None:
    structure = seen_from(0)
    red, blue = dressed(), dressed(upper_colour=(54, 98, 176))
    changed = np.abs(render(red, structure, SIZE).astype(int) - render(blue, structure, SIZE)).max(axis=-1) > 8
    body = clothed_body(red, structure, SIZE)
    assert np.array_equal(body, clothed_body(blue, structure, SIZE))
    assert changed.sum() > 150
    assert (body[changed] > 0).all()


def test_the_background_is_the_structures_and_nearly_grey() -> None:
    structure = seen_from(30)
    one, other = dressed(), dressed(upper_colour=(236, 194, 74), lower_colour=(40, 52, 98))
    first, second = (render(wear, structure, SIZE) for wear in (one, other))
    corners = np.concatenate([first[:20, :5].reshape(-1, 3), first[:20, -5:].reshape(-1, 3)]).astype(int)
    assert np.array_equal(first[:20, :5], second[:20, :5])
    assert (corners.max(axis=1) - corners.min(axis=1)).mean() < 40


def test_the_person_fills_most_of_the_box() -> None:
    for identity in range(1, 30):
        structure = Structure.of(0, identity, 1 + identity % 6, identity)
        with_shoes = clothed_body(Appearance.of(0, identity), structure, SIZE).max(axis=1) > 0.5
        rows = np.flatnonzero(with_shoes)
        assert rows[0] < 20
        assert 54 < rows[-1] < 64


def test_clothed_body_leaves_out_skin_and_scene() -> None:
    body = clothed_body(dressed(), seen_from(0), (128, 64))
    assert body.min() == 0
    assert body.max() == 1
    assert 0.1 < body.mean() < 0.4
    assert body[:12].max() == 0
    bare_legs = clothed_body(dressed(lower=Lower.SHORTS), seen_from(0), (128, 64))
    assert bare_legs.sum() < 0.9 * body.sum()


def test_a_logo_shows_in_front_and_not_behind() -> None:
    wear = dressed(pattern=Pattern.LOGO, second_colour=(236, 236, 232), upper_colour=(36, 36, 41))
    front, back = (render(wear, seen_from(angle), (128, 64))[28:44, 22:42] for angle in (0, 180))
    assert (front.min(axis=-1) > 150).sum() > 40
    assert (back.min(axis=-1) > 150).sum() < 10


def test_a_backpack_shows_from_behind() -> None:
    wear = dressed(bag=Bag.BACKPACK, bag_colour=(20, 60, 220))
    back, front = (close_to(render(wear, seen_from(angle), SIZE), (20, 60, 220)).sum() for angle in (180, 0))
    assert back > 40
    assert back > 3 * front


def test_stripes_are_visible_in_a_small_image() -> None:
    wear = dressed(pattern=Pattern.HORIZONTAL, second_colour=(236, 236, 232))
    column = render(wear, seen_from(0), SIZE)[15:32, 15:18].mean(axis=1)
    pale = column[:, 1] > 130
    assert np.count_nonzero(pale[1:] != pale[:-1]) >= 3


def test_hair_shape_belongs_to_structure() -> None:
    wear = dressed(hair_colour=(30, 26, 26), skin_tone=(240, 202, 174))
    bald, long = (render(wear, seen_from(180, hair=hair), SIZE).astype(int) for hair in (Hair.BALD, Hair.LONG))
    dark = [(image[4:16].max(axis=-1) < 70).sum() for image in (bald, long)]
    assert dark[0] < 5
    assert dark[1] > 30


def test_a_size_too_small_is_refused() -> None:
    with pytest.raises(DgaugError, match="at least 16"):
        render(Appearance.of(0, 1), Structure.of(0, 1, 1, 0), (8, 32))
