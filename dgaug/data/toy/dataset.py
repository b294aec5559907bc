"""Writing the embedded data set in the layout of Market-1501."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from dgaug.data.toy.chance import chance
from dgaug.data.toy.image import render
from dgaug.data.toy.world import WORLD_FILE, Settings, Shot, ToyWorld, is_toy, world_text
from dgaug.errors import DgaugError

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"


def write_toy(
    out: Path,
    *,
    identities: int = 32,
    test_identities: int | None = None,
    images_per_identity: int = 8,
    queries_per_identity: int = 3,
    distractors: int | None = None,
    junk: int | None = None,
    cameras: int = 6,
    size: tuple[int, int] = (64, 32),
    seed: int = 0,
    on_image: Callable[[int, int], None] | None = None,
) -> None:
    """Write the embedded data set to `out`: `bounding_box_train`, `query`, `bounding_box_test` and `toy.json`.

    Equal arguments give equal bytes. Identities 1.. are for training, the following ones for testing. A test identity
    has `images_per_identity` gallery images and one query from each of up to `queries_per_identity` cameras. The
    gallery also holds `distractors` images of other people (`0000`) and `junk` bad crops (`-1`); by default one for
    every eight and one for every twelve gallery images.

    Args:
        out: folder to create. An existing one is left alone when it already holds exactly this data set.
        test_identities: as many as `identities` when not given.
        size: (H, W) in pixels, each at least 16.
        on_image: called with (images written, images in all) after each image.

    Raises:
        DgaugError: an argument is out of range, or `out` exists and holds something else.
    """
    tests = identities if test_identities is None else test_identities
    settings = Settings(
        identities=identities,
        test_identities=tests,
        images_per_identity=images_per_identity,
        queries_per_identity=queries_per_identity,
        distractors=tests * images_per_identity // 8 if distractors is None else distractors,
        junk=tests * images_per_identity // 12 if junk is None else junk,
        cameras=cameras,
        size=(int(size[0]), int(size[1])),
        seed=seed,
    )
    settings.check()
    out = Path(out).absolute()
    if out == Path.cwd():
        raise DgaugError(
            f"{out}: expected the name of a folder to create, found the current folder; name one inside it"
        )
    if _already_there(out, settings):
        return
    # A folder left by an interrupted call is ours by its name.
    part = out.with_name(out.name + ".part")
    if part.exists():
        shutil.rmtree(part)
    shots = plan(settings)
    for folder in (TRAIN, QUERY, GALLERY):
        (part / folder).mkdir(parents=True)
    for done, (path, shot) in enumerate(shots.items(), start=1):
        image = render(shot.appearance(seed), shot.structure(seed), settings.size)
        Image.fromarray(image).save(part / path, format="JPEG", quality=95, subsampling=0)
        if on_image is not None:
            on_image(done, len(shots))
    (part / WORLD_FILE).write_text(world_text(settings, shots), encoding="utf-8")
    os.replace(part, out)


def plan(settings: Settings) -> dict[str, Shot]:
    """Every image of the data set: path relative to the root, and what is on it."""
    shots: dict[str, Shot] = {}
    for identity in range(1, settings.identities + 1):
        for index in range(settings.images_per_identity):
            _add(shots, TRAIN, Shot(identity, _camera(settings, identity, index), index))
    first_test = settings.identities + 1
    after_test = first_test + settings.test_identities
    for identity in range(first_test, after_test):
        for index in range(settings.images_per_identity):
            _add(shots, GALLERY, Shot(identity, _camera(settings, identity, index), index))
        for number in range(min(settings.queries_per_identity, settings.cameras)):
            index = settings.images_per_identity + number
            _add(shots, QUERY, Shot(identity, _camera(settings, identity, number), index))
    for number in range(settings.distractors):
        _add(shots, GALLERY, Shot(after_test + number, _camera(settings, after_test + number, 0), 0), name="0000")
    for number in range(settings.junk):
        identity = first_test + number % settings.test_identities
        index = 1000 + number // settings.test_identities
        _add(shots, GALLERY, Shot(identity, _camera(settings, identity, number), index, bad_crop=True), name="-1")
    return shots


def _camera(settings: Settings, identity: int, number: int) -> int:
    """The camera of an identity's image: each identity meets all cameras, in an order of its own."""
    order = list(range(1, settings.cameras + 1))
    chance(settings.seed, "cameras", identity).shuffle(order)
    return order[number % settings.cameras]


def _add(shots: dict[str, Shot], folder: str, shot: Shot, *, name: str | None = None) -> None:
    """Name a shot like Market-1501 does: identity, camera and sequence, frame, box."""
    frame = 25 * shot.index + 1 if name is None else 7 * shot.identity + 1000 * shot.index
    person = f"{shot.identity:04d}" if name is None else name
    path = f"{folder}/{person}_c{shot.camera}s1_{frame % 1_000_000:06d}_{shot.index % 4 + 1:02d}.jpg"
    if path in shots:
        raise DgaugError(f"toy data set: too many images, two of them would be called {path}")
    shots[path] = shot


def _already_there(out: Path, settings: Settings) -> bool:
    """Whether `out` holds exactly this data set; DgaugError when it holds anything else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not out.is_dir() or not is_toy(out):
        raise DgaugError(
            f"{out}: expected a new or empty folder for the toy data set, found other files; choose another"
        )
    world = ToyWorld.open(out)
    if world.settings != settings:
        raise DgaugError(f"{out}: holds a toy data set with other settings ({world.settings}); choose another folder")
    missing = [path for path in world.shots if not (out / path).is_file()]
    if missing:
        raise DgaugError(
            f"{out}: {len(missing)} images are missing, the first is {missing[0]}; remove it and write it again"
        )
    return True
