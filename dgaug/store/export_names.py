"""Market-1501 file names for generated pictures: valid, unique, and never those of real ones."""

from __future__ import annotations

from dataclasses import dataclass

from dgaug.data.records import UNKNOWN_CAMERA
from dgaug.errors import DgaugError
from dgaug.store.sources import Sources

IDENTITY_OF = ("appearance", "structure", "new")
# Toolboxes keep identities as 32-bit integers.
_MOST_DIGITS = 9


@dataclass(frozen=True)
class MarketNames:
    """How pictures are named: `0002_c1s1_0000451_00.jpg` is picture 451 of the store.

    The number of the picture has at least seven digits, six in the names of Market-1501: generated pictures can be
    put beside real ones. The camera is that of the structure donor, whose viewpoint and background the picture has.

    Attributes:
        numbers: the text of each class's identity, four digits or more.
        further: the text of the one identity that no source has.
        renumbered: whether the identities' own names are no different numbers and they were counted from 1.
        identity: whose identity: `appearance`, `structure`, or `new`: one further identity for all pictures.
        unknown_camera: the number for an unknown camera; None: the name has no camera field.
    """

    numbers: list[str]
    further: str
    renumbered: bool
    identity: str
    unknown_camera: int | None

    def name(self, picture: int, *, appearance: int, structure: int, camera: int) -> str:
        """The file name of a picture whose donors are of these classes; `camera` is the structure donor's."""
        number = self.further
        if self.identity != "new":
            number = self.numbers[appearance if self.identity == "appearance" else structure]
        seen_by = self.unknown_camera if camera == UNKNOWN_CAMERA else camera
        field = "" if seen_by is None else f"_c{seen_by}s1"
        return f"{number}{field}_{picture:07d}_00.jpg"


def market_names(sources: Sources, *, identity: str, unknown_camera: int | None) -> MarketNames:
    """The naming of a store's pictures.

    Raises:
        DgaugError: unknown `identity`, or `unknown_camera` is the number of a real camera.
    """
    if identity not in IDENTITY_OF:
        raise DgaugError(f"expected --identity to be one of {', '.join(IDENTITY_OF)}, found {identity!r}")
    if unknown_camera is not None and unknown_camera in sources.camera:
        raise DgaugError(f"camera {unknown_camera} is a real one of these pictures; choose another --unknown-camera")
    names = sources.class_name
    plain = all(name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS for name in names)
    kept = plain and len({int(name) for name in names}) == len(names)
    numbers = [name.zfill(4) for name in names] if kept else [f"{number:04d}" for number in range(1, len(names) + 1)]
    further = f"{1 + max(map(int, numbers)):04d}"
    return MarketNames(numbers, further, not kept, identity, unknown_camera)
