from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dgaug.data.records import Record
from dgaug.errors import DgaugError
from dgaug.store.sources import Sources
from dgaug.synthesis.pairs import parse_pairs

IDENTITIES = "bbacbaadc"
CAMERAS = (1, 2, -1, 1, 4, 2, 2, -1, 1)
SIZE = len(IDENTITIES)
Pair = tuple[int, int]


@pytest.fixture
def sources() -> Sources:
    return Sources.of(
        Record(f"{row}.jpg", identity, camera)
        for row, (identity, camera) in enumerate(zip(IDENTITIES, CAMERAS, strict=True))
    )


def listed(text: str, sources: Sources, *, seed: int = 0) -> list[Pair]:
    pairs = parse_pairs(text).over(sources, seed=seed)
    appearance, structure = pairs.slice(0, pairs.count)
    assert appearance.dtype == structure.dtype == np.int32
    assert parse_pairs(text).count(sources) == pairs.count == len(appearance)
    return list(zip(appearance.tolist(), structure.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "belongs"),
    [
        ("all", lambda i, j: True),
        ("cross-identity", lambda i, j: IDENTITIES[i] != IDENTITIES[j]),
        ("cross-camera", lambda i, j: CAMERAS[i] != CAMERAS[j] and -1 not in (CAMERAS[i], CAMERAS[j])),
    ],
)
def test_pairs_by_rule_are_those_of_brute_force(
    sources: Sources, text: str, belongs: Callable[[int, int], bool]
) -> None:
    assert listed(text, sources) == [(i, j) for i in range(SIZE) for j in range(SIZE) if belongs(i, j)]


@pytest.mark.parametrize("count", [1, 40, 80, 81])
def test_random_pairs_are_distinct_and_a_smaller_number_begins_a_larger(sources: Sources, count: int) -> None:
    pairs = listed(f"random:{count}", sources)
    assert len(set(pairs)) == count
    assert pairs == listed("random:81", sources)[:count]
    assert all(0 <= i < SIZE and 0 <= j < SIZE for i, j in pairs)


@pytest.mark.parametrize("each", [1, 3, 8])
def test_each_appearance_meets_as_many_other_structures(sources: Sources, each: int) -> None:
    pairs = listed(f"per-appearance:{each}", sources)
    assert [i for i, _ in pairs] == [i for i in range(SIZE) for _ in range(each)]
    assert len(set(pairs)) == SIZE * each
    assert all(i != j for i, j in pairs)


def test_a_grid_puts_the_same_structures_on_every_appearance(sources: Sources) -> None:
    pairs = listed("grid:3x4", sources)
    appearances, structures = sorted({i for i, _ in pairs}), sorted({j for _, j in pairs})
    assert (len(appearances), len(structures)) == (3, 4)
    assert pairs == [(i, j) for i in appearances for j in structures]


@pytest.mark.parametrize("text", ["random:20", "per-appearance:3", "grid:3x4"])
def test_the_seed_decides_the_choice(sources: Sources, text: str) -> None:
    assert listed(text, sources, seed=5) == listed(text, sources, seed=5)
    assert len({tuple(listed(text, sources, seed=seed)) for seed in range(20)}) > 10


@pytest.mark.parametrize(
    "text", ["all", "cross-identity", "cross-camera", "random:50", "per-appearance:4", "grid:5x5", "csv"]
)
def test_any_slice_is_that_part_of_the_whole(sources: Sources, tmp_path: Path, text: str) -> None:
    if text == "csv":
        (tmp_path / "pairs.csv").write_text("appearance,structure\n0,1\n5,5\n3,2\n")
        text = f"csv:{tmp_path}/pairs.csv"
    pairs, whole = parse_pairs(text).over(sources), listed(text, sources)
    for start in range(pairs.count + 1):
        for stop in range(start, min(start + 12, pairs.count) + 1):
            appearance, structure = pairs.slice(start, stop)
            assert list(zip(appearance.tolist(), structure.tolist(), strict=True)) == whole[start:stop]
    with pytest.raises(IndexError):
        pairs.slice(0, pairs.count + 1)


def test_random_pairs_of_a_large_set_are_distinct_and_spread_evenly() -> None:
    size, count = 12_936, 1_000_000
    large = Sources(
        path=[str(row) for row in range(size)],
        identity=np.zeros(size, np.int32),
        identity_name=["0"] * size,
        camera=np.zeros(size, np.int32),
        class_name=["0"],
    )
    appearance, structure = parse_pairs(f"random:{count}").over(large, seed=1).slice(0, count)
    assert len(np.unique(appearance.astype(np.int64) * size + structure)) == count
    for rows in (appearance, structure):
        # Poisson: mean 77.3, standard deviation 8.8.
        assert np.bincount(rows, minlength=size).std() == pytest.approx(np.sqrt(count / size), rel=0.03)
    assert abs(np.corrcoef(appearance, structure)[0, 1]) < 0.005


def test_a_small_choice_is_not_biased_towards_any_structure(sources: Sources) -> None:
    met = np.zeros((SIZE, SIZE))
    for seed in range(400):
        for i, j in listed("per-appearance:1", sources, seed=seed):
            met[i, j] += 1
    others = met[~np.eye(SIZE, dtype=bool)]
    assert np.abs(others / 400 - 1 / 8).max() < 0.07


def test_a_list_names_images_by_path_or_by_row(sources: Sources, tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("appearance,structure\n8.jpg,0.jpg\n2,7.jpg\n\n0,0\n")
    assert listed(f"csv:{file}", sources) == [(8, 0), (2, 7), (0, 0)]


def test_a_list_is_recorded_by_its_content(sources: Sources, tmp_path: Path) -> None:
    for name, content in (("one.csv", "1,2\n"), ("two.csv", "1.jpg,2.jpg\n"), ("three.csv", "2,1\n")):
        (tmp_path / name).write_text(f"appearance,structure\n{content}")
    one, two, three = (parse_pairs(f"csv:{tmp_path}/{name}.csv").over(sources).text for name in ("one", "two", "three"))
    assert one == two != three
    assert str(tmp_path) not in one


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("structure,appearance\n0,1\n", "header"),
        ("", "header"),
        ("appearance,structure\n", "at least one pair"),
        ("appearance,structure\n0,9\n", "line 2"),
        ("appearance,structure\n0,1\nnobody.jpg,0\n", "line 3.*nobody.jpg"),
        ("appearance,structure\n0,1,2\n", "two columns in line 2"),
        ("appearance,structure\n0,1\n0.jpg,1\n", "line 3 equal to line 2"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_with_its_line(
    sources: Sources, tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(DgaugError, match=message):
        parse_pairs(f"csv:{tmp_path}/pairs.csv").over(sources)


@pytest.mark.parametrize("text", ["random:82", "per-appearance:9", "grid:10x2", "grid:2x10", "csv:missing.csv"])
def test_more_than_the_data_give_is_refused(sources: Sources, text: str) -> None:
    with pytest.raises(DgaugError, match="expected"):
        parse_pairs(text).over(sources)


def test_cross_camera_without_cameras_is_refused() -> None:
    blind = Sources.of([Record("a", "1"), Record("b", "2")])
    with pytest.raises(DgaugError, match="at least one pair for 'cross-camera'"):
        parse_pairs("cross-camera").over(blind)


@pytest.mark.parametrize(
    "text",
    ["", "al", "all:3", "random", "random:", "random:0", "random:-3", "random:1.5", "random:٣", "grid:3", "csv:"],
)
def test_nonsense_is_refused_with_the_forms_that_are_known(text: str) -> None:
    with pytest.raises(DgaugError, match="cross-identity, cross-camera, random:K, per-appearance:K, grid:AxB"):
        parse_pairs(text)
