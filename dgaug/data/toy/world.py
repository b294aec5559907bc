"""toy.json: what makes a written toy data set re-drawable, so that the true image of every pair is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dgaug.data.toy.appearance import Appearance
from dgaug.data.toy.image import check_size, clothed_body, render
from dgaug.data.toy.structure import Structure
from dgaug.errors import DgaugError

WORLD_FILE = "toy.json"
FORMAT = "dgaug-toy"
SCHEMA = 1  # raised when the file or the drawing changes
KEPT = 512
"""Pairs whose images are kept: 50 MB at 256 x 128."""
_Number = TypeVar("_Number", np.uint8, np.float32)


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides a toy data set, bit by bit."""

    identities: int
    test_identities: int
    images_per_identity: int
    queries_per_identity: int
    distractors: int
    junk: int
    cameras: int
    size: tuple[int, int]
    seed: int

    def check(self) -> None:
        """Raise DgaugError naming the first setting out of range."""
        limits = {
            "identities": (2, 4999),
            "test_identities": (2, 4999),
            "images_per_identity": (2, 9999),
            "queries_per_identity": (1, 99),
            "distractors": (0, 99_999),
            "junk": (0, 99_999),
            "cameras": (1, 99),
            "seed": (0, 2**63 - 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise DgaugError(f"toy data set: {name} must be between {low} and {high}, found {value}")
        check_size(self.size)


@dataclass(frozen=True, slots=True)
class Shot:
    """Who is on an image of the toy data set, seen by which camera, and its structure index."""

    identity: int
    camera: int
    index: int
    bad_crop: bool = False

    def appearance(self, seed: int) -> Appearance:
        """What the person on it wears."""
        return Appearance.of(seed, self.identity)

    def structure(self, seed: int) -> Structure:
        """Everything else on it."""
        draw = Structure.of_bad_crop if self.bad_crop else Structure.of
        return draw(seed, self.identity, self.camera, self.index)


@dataclass(frozen=True, slots=True)
class ToyWorld:
    """A written toy data set: settings, and the shot behind each image path (POSIX, relative to the root)."""

    root: Path
    settings: Settings
    shots: dict[str, Shot]

    @classmethod
    def open(cls, root: Path) -> ToyWorld:
        """Read `toy.json` under `root`.

        Raises:
            DgaugError: the file is missing, is not one of ours, is damaged, or was written by another schema.
        """
        path = Path(root) / WORLD_FILE
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DgaugError(
                f"{path}: not found; true images exist only for data written by `dgaug data toy`"
            ) from None
        except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise DgaugError(f"{path}: cannot be read as JSON ({error}); write the data set again") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise DgaugError(f'{path}: expected "format": "{FORMAT}"; this file was not written by `dgaug data toy`')
        if content.get("schema") != SCHEMA:
            raise DgaugError(
                f"{path}: expected schema {SCHEMA}, found {content.get('schema')}; "
                "write the data set again with this version of dgaug"
            )
        try:
            settings = Settings(**{**content["settings"], "size": tuple(content["settings"]["size"])})
            shots = {str(name): _shot(row) for name, row in content["pictures"].items()}
            settings.check()
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DgaugError(f"{path}: damaged ({type(error).__name__}: {error}); write the data set again") from None
        return cls(root=Path(root), settings=settings, shots=shots)

    def true_image(
        self, appearance_path: str, structure_path: str, size: tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """The true image of a pair: uint8 `[H, W, 3]`, at the size of the data set unless `size` (H, W) is given.

        Paths are relative to the root, as in the records.

        Raises:
            DgaugError: a path is not an image of this data set.
        """
        return _kept(render, *self._pair(appearance_path, structure_path), size or self.settings.size)

    def clothed_body(
        self, appearance_path: str, structure_path: str, size: tuple[int, int] | None = None
    ) -> NDArray[np.float32]:
        """Coverage of garments, shoes and bag on `true_image` of the same pair: float32 `[H, W]`, 0..1.

        Raises:
            DgaugError: a path is not an image of this data set.
        """
        return _kept(clothed_body, *self._pair(appearance_path, structure_path), size or self.settings.size)

    def _pair(self, appearance: str, structure: str) -> tuple[Shot, Shot, int]:
        return self._shot(appearance), self._shot(structure), self.settings.seed

    def _shot(self, path: str) -> Shot:
        shot = self.shots.get(path)
        if shot is None:
            raise DgaugError(
                f"{path}: not an image of the toy data set {self.root}; give its path relative to that folder"
            )
        return shot


@lru_cache(maxsize=2 * KEPT)
def _kept(
    draw: Callable[[Appearance, Structure, tuple[int, int]], NDArray[_Number]],
    one: Shot,
    other: Shot,
    seed: int,
    size: tuple[int, int],
) -> NDArray[_Number]:
    """Several scores and sheets ask for the same pairs; read-only, because all of them get the same array."""
    image = draw(one.appearance(seed), other.structure(seed), size)
    image.setflags(write=False)
    return image


def _shot(row: list[object]) -> Shot:
    """One row of `images`; ValueError when it is not three whole numbers and a truth value."""
    match row:
        case [int(identity), int(camera), int(index), bool(bad_crop)]:
            return Shot(identity, camera, index, bad_crop)
        case _:
            raise ValueError(f"expected [identity, camera, index, bad crop], found {row}")


def is_toy(root: Path) -> bool:
    """Whether `root` holds a toy data set (its `toy.json` says so; nothing else is read)."""
    try:
        content = json.loads((Path(root) / WORLD_FILE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def world_text(settings: Settings, shots: dict[str, Shot]) -> str:
    """The text of `toy.json`: one image a line, `[identity, camera, structure index, bad crop]`."""
    head = {"format": FORMAT, "schema": SCHEMA, "settings": asdict(settings)}
    rows = (
        f"    {json.dumps(path)}: {json.dumps([shot.identity, shot.camera, shot.index, shot.bad_crop])}"
        for path, shot in sorted(shots.items())
    )
    return json.dumps(head, indent=2)[:-2] + ',\n  "pictures": {\n' + ",\n".join(rows) + "\n  }\n}\n"
