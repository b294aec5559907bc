"""Pair designs: which appearance goes on which structure, pair by pair, without ever listing N x N of them."""

from __future__ import annotations

import csv
import hashlib
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dgaug.data.records import UNKNOWN_CAMERA, IdentityData
from dgaug.errors import DgaugError
from dgaug.store.sources import Sources

FORMS = "all, cross-identity, cross-camera, random:K, per-appearance:K, grid:AxB or csv:FILE"

LISTED = "csv:sha256:"

FEISTEL_ROUNDS = 8

_NUMBER = "0{0,18}[1-9][0-9]{0,17}"

Rows = NDArray[np.int64]


class Pairs(ABC):
    """The pairs of a design over given sources, in their one order.

    Attributes:
        text: the design as a store records it; a list from a file is named by its content, never by its path.
        count: number of pairs.
    """

    text: str
    count: int

    def slice(self, start: int, stop: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Appearance and structure rows, int32 [stop - start] each, of the pairs [start, stop)."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"pairs {start} to {stop} of a design of {self.count}")
        appearance, structure = self._rows(np.arange(start, stop, dtype=np.int64))
        return appearance.astype(np.int32), structure.astype(np.int32)

    def sample(self, count: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """At most so many pairs, evenly spread over the design."""
        appearance, structure = self._rows(np.unique(np.linspace(0, self.count - 1, count).astype(np.int64)))
        return appearance.astype(np.int32), structure.astype(np.int32)

    @abstractmethod
    def holds(self, appearance: NDArray[np.integer], structure: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether pairs [B] are in the design: [B]."""

    @abstractmethod
    def _rows(self, k: Rows) -> tuple[Rows, Rows]:
        """Appearance and structure of the pairs k, ascending."""


@dataclass(frozen=True)
class PairDesign:
    """A design as the user wrote it: its kind, its numbers, its file.

    - `all`: N x N, k = i * N + j, the diagonal included.
    - `cross-identity`: pairs of different identities, in the order of `all`.
    - `cross-camera`: pairs of different cameras, both known, of one identity or two, in the order of `all`.
    - `random:K`: K distinct pairs of all, in seeded order: the first pairs of a larger K are those of a smaller one.
    - `per-appearance:K`: for each appearance i, K distinct structures other than i, in seeded order.
    - `grid:AxB`: A seeded appearances, each on the same B seeded structures, both by row.
    - `csv:FILE`: a file with the header `appearance,structure` and source paths or rows, in its order.
    """

    text: str
    kind: str
    numbers: tuple[int, ...] = ()
    file: Path | None = None

    def over(self, sources: Sources, *, seed: int = 0) -> Pairs:
        """The pairs over these sources; DgaugError where the sources are too few or the file does not fit them."""
        size = len(sources)
        if self.kind == "all":
            return _All(self.text, size)
        if self.kind == "cross-identity":
            return _Unlike(self.text, _identity_groups(sources))
        if self.kind == "cross-camera":
            return _Unlike(self.text, _camera_groups(sources))
        if self.kind == "random":
            return _Random(self.text, self._at_most(0, size * size, "pairs"), size=size, seed=seed)
        if self.kind == "per-appearance":
            return _PerAppearance(self.text, self._at_most(0, size - 1, "other structures"), size=size, seed=seed)
        if self.kind == "grid":
            chosen = self._at_most(0, size, "appearances"), self._at_most(1, size, "structures")
            return _Grid(self.text, chosen, size=size, seed=seed)
        return listed_pairs(*_read_csv(self.file or Path(), sources))

    def count(self, sources: Sources) -> int:
        """Number of pairs over these sources."""
        return self.over(sources).count

    def _at_most(self, place: int, limit: int, what: str) -> int:
        if self.numbers[place] > limit:
            raise DgaugError(
                f"expected at most {limit} {what} from this data, found {self.numbers[place]} in '{self.text}'"
            )
        return self.numbers[place]


def parse_pairs(text: str) -> PairDesign:
    """The design that a text names; DgaugError where it is none of the known forms."""
    kind, _, rest = text.partition(":")
    if text in ("all", "cross-identity", "cross-camera"):
        return PairDesign(text, kind)
    if kind in ("random", "per-appearance") and re.fullmatch(_NUMBER, rest, re.ASCII):
        return PairDesign(f"{kind}:{int(rest)}", kind, (int(rest),))
    grid = re.fullmatch(f"({_NUMBER})x({_NUMBER})", rest, re.ASCII)
    if kind == "grid" and grid is not None:
        appearances, structures = int(grid[1]), int(grid[2])
        return PairDesign(f"grid:{appearances}x{structures}", kind, (appearances, structures))
    if kind == "csv" and rest:
        return PairDesign(text, kind, file=Path(rest))
    raise DgaugError(f"expected pairs to be {FORMS}, found '{text}'")


def require_pairs(text: str, data: IdentityData, *, seed: int, where: str = "") -> None:
    """Refuse pairs that the training images of a data set do not make, before anything is trained for them.

    Raises:
        DgaugError: what is wrong with `--pairs`, and `where`.
    """
    try:
        parse_pairs(text).over(Sources.of(data.splits["train"]), seed=seed)
    except DgaugError as error:
        raise DgaugError(f"--pairs{where}: {error}") from None


class _All(Pairs):
    def __init__(self, text: str, size: int) -> None:
        self.text, self.count, self._size = text, size * size, size

    def _rows(self, k: Rows) -> tuple[Rows, Rows]:
        return k // self._size, k % self._size

    def holds(self, appearance: NDArray[np.integer], structure: NDArray[np.integer]) -> NDArray[np.bool_]:
        return np.ones(len(appearance), np.bool_)


@dataclass(frozen=True)
class _Groups:
    """Which structures an appearance may not meet.

    `group` [N] is the group of each source, -1 for one that takes no part; `barred` the sorted rows per group.
    """

    group: NDArray[np.int64]
    barred: list[Rows]


class _Unlike(Pairs):
    """Each appearance on every structure that is not barred to its group."""

    def __init__(self, text: str, groups: _Groups) -> None:
        allowed = np.array([len(groups.group) - len(rows) for rows in groups.barred] + [0], np.int64)
        self._end = np.cumsum(allowed[groups.group])
        self.text, self.count, self._groups = text, int(self._end[-1]), groups
        if not self.count:
            raise DgaugError(f"expected at least one pair for '{text}', found none in this data; use `--pairs all`")

    def _rows(self, k: Rows) -> tuple[Rows, Rows]:
        appearance = np.searchsorted(self._end, k, side="right")
        structure = np.empty_like(k)
        rows, first = np.unique(appearance, return_index=True)
        for row, start, stop in zip(rows, first, np.append(first, len(k))[1:], strict=True):
            barred = self._groups.barred[self._groups.group[row]]
            begin = self._end[row - 1] if row else 0
            rank = k[start:stop] - begin
            # The allowed row of rank r lies behind as many barred rows as have at most r allowed rows before them.
            structure[start:stop] = rank + np.searchsorted(barred - np.arange(len(barred)), rank, side="right")
        return appearance, structure

    def holds(self, appearance: NDArray[np.integer], structure: NDArray[np.integer]) -> NDArray[np.bool_]:
        appearances, structures = self._groups.group[appearance], self._groups.group[structure]
        return np.asarray((appearances >= 0) & (structures >= 0) & (appearances != structures))


def _identity_groups(sources: Sources) -> _Groups:
    group = sources.identity.astype(np.int64)
    sizes = np.bincount(group, minlength=len(sources.class_name))
    return _Groups(group, np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1]))


def _camera_groups(sources: Sources) -> _Groups:
    unknown = sources.camera == UNKNOWN_CAMERA
    cameras, group = np.unique(sources.camera[~unknown], return_inverse=True)
    placed = np.full(len(sources), -1, np.int64)
    placed[~unknown] = group
    return _Groups(placed, [np.flatnonzero((sources.camera == camera) | unknown) for camera in cameras])


class _Random(Pairs):
    def __init__(self, text: str, count: int, *, size: int, seed: int) -> None:
        self.text, self.count, self._size, self._seed = text, count, size, seed

    def _rows(self, k: Rows) -> tuple[Rows, Rows]:
        chosen = permuted(k, size=self._size**2, key=self._keys(k))
        return chosen // self._size, chosen % self._size

    def holds(self, appearance: NDArray[np.integer], structure: NDArray[np.integer]) -> NDArray[np.bool_]:
        chosen = appearance.astype(np.int64) * self._size + structure
        return permuted(chosen, size=self._size**2, key=self._keys(chosen), inverse=True) < self.count

    def _keys(self, k: Rows) -> NDArray[np.uint64]:
        return np.full(len(k), _key(self._seed, 0))


class _PerAppearance(Pairs):
    def __init__(self, text: str, each: int, *, size: int, seed: int) -> None:
        self.text, self.count, self._each, self._size, self._seed = text, each * size, each, size, seed

    def _rows(self, k: Rows) -> tuple[Rows, Rows]:
        appearance = k // self._each
        other = permuted(k % self._each, size=self._size - 1, key=self._keys(appearance))
        return appearance, other + (other >= appearance)

    def holds(self, appearance: NDArray[np.integer], structure: NDArray[np.integer]) -> NDArray[np.bool_]:
        mask = np.zeros(len(appearance), np.bool_)
        unlike = appearance != structure
        appearances, structures = appearance[unlike].astype(np.int64), structure[unlike].astype(np.int64)
        other = structures - (structures > appearances)
        place = permuted(other, size=self._size - 1, key=self._keys(appearances), inverse=True)
        mask[unlike] = place < self._each
        return mask

    def _keys(self, appearance: Rows) -> NDArray[np.uint64]:
        return _mixed(_key(self._seed, 1) + appearance.astype(np.uint64))


class _Grid(Pairs):
    def __init__(self, text: str, chosen: tuple[int, int], *, size: int, seed: int) -> None:
        self.text, self.count = text, chosen[0] * chosen[1]
        self._appearances, self._structures = (
            np.sort(permuted(np.arange(number), size=size, key=np.full(number, _key(seed, purpose))))
            for purpose, number in enumerate(chosen, start=2)
        )

    def _rows(self, k: Rows) -> tuple[Rows, Rows]:
        width = len(self._structures)
        return self._appearances[k // width], self._structures[k % width]

    def holds(self, appearance: NDArray[np.integer], structure: NDArray[np.integer]) -> NDArray[np.bool_]:
        return np.asarray(np.isin(appearance, self._appearances) & np.isin(structure, self._structures))


class _Listed(Pairs):
    def __init__(self, text: str, appearance: Rows, structure: Rows) -> None:
        self.text, self.count = text, len(appearance)
        self._appearance, self._structure = appearance, structure

    def _rows(self, k: Rows) -> tuple[Rows, Rows]:
        return self._appearance[k], self._structure[k]

    def holds(self, appearance: NDArray[np.integer], structure: NDArray[np.integer]) -> NDArray[np.bool_]:
        return np.asarray(np.isin(_joined(appearance, structure), _joined(self._appearance, self._structure)))


def _joined(appearance: NDArray[np.integer], structure: NDArray[np.integer]) -> Rows:
    return appearance.astype(np.int64) << 32 | structure


def listed_pairs(appearance: Rows, structure: Rows, *, text: str | None = None) -> Pairs:
    """A list of pairs as a design; without a text it is named by its content."""
    if text is None:
        rows = np.stack([appearance, structure]).astype("<i8")
        text = f"{LISTED}{hashlib.sha256(rows.tobytes()).hexdigest()}"
    return _Listed(text, appearance, structure)


def _read_csv(file: Path, sources: Sources) -> tuple[Rows, Rows]:
    row_of = {path: row for row, path in enumerate(sources.path)}
    if not file.is_file():  # a pipe could be waited for without end
        raise DgaugError(f"expected a CSV file of pairs, found {'no file' if file.exists() else 'nothing'} at {file}")
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            if [name.strip() for name in header] != ["appearance", "structure"]:
                raise DgaugError(f"expected the header appearance,structure in {file}, found '{','.join(header)}'")
            places = [(reader.line_num, line) for line in reader if line]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise DgaugError(f"expected a CSV file of pairs, found {file}: {problem}") from problem
    if not places:
        raise DgaugError(f"expected at least one pair in {file}, found none")
    seen: dict[tuple[int, int], int] = {}
    for number, line in places:
        if len(line) != 2:
            raise DgaugError(f"expected two columns in line {number} of {file}, found {len(line)}")
        pair = (_row(line[0], row_of, f"line {number} of {file}"), _row(line[1], row_of, f"line {number} of {file}"))
        if seen.setdefault(pair, number) != number:
            raise DgaugError(f"expected each pair once in {file}, found line {number} equal to line {seen[pair]}")
    rows = np.array(list(seen), np.int64)
    return rows[:, 0], rows[:, 1]


def _row(text: str, row_of: dict[str, int], where: str) -> int:
    name = text.strip()
    if name in row_of:
        return row_of[name]
    if re.fullmatch("[0-9]{1,18}", name) and int(name) < len(row_of):
        return int(name)
    raise DgaugError(f"expected a source's path or its row (0 to {len(row_of) - 1}) in {where}, found '{name}'")


def permuted(k: Rows, *, size: int, key: NDArray[np.uint64], inverse: bool = False) -> Rows:
    """Where the permutation of 0 … size - 1 that belongs to a key puts k, or what it puts there; nothing is stored.

    A Feistel network over the next power of four, walked on until it is back inside (Black and Rogaway, "Ciphers with
    arbitrary finite domains", 2002, section 4).
    """
    half = np.uint64(max(1, ((size - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    result = k.astype(np.uint64)
    walking = np.arange(len(k))
    while len(walking):
        left, right = result[walking] >> half, result[walking] & mask
        if inverse:
            for turn in reversed(range(FEISTEL_ROUNDS)):
                left, right = right ^ _round(left, key[walking], turn, mask), left
        else:
            for turn in range(FEISTEL_ROUNDS):
                left, right = right, left ^ _round(right, key[walking], turn, mask)
        result[walking] = (left << half) | right
        walking = walking[result[walking] >= size]
    return result.astype(np.int64)


def _round(half: NDArray[np.uint64], key: NDArray[np.uint64], turn: int, mask: np.uint64) -> NDArray[np.uint64]:
    return _mixed(_mixed(key + np.uint64(turn)) ^ half) & mask


def _key(seed: int, purpose: int) -> np.uint64:
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014): every bit of the input moves every bit of it."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
