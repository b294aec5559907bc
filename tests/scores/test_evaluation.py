"""Evaluation of a re-id checkpoint: which pictures count, which features are ranked."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import normalise
from dgaug.data.training import read_data
from dgaug.errors import DgaugError
from dgaug.models.reid import ReidNetwork
from dgaug.runs import Run
from dgaug.scores.evaluation import evaluate_network, evaluate_reid
from dgaug.scores.features import features_of
from dgaug.scores.protocols import Tables
from dgaug.scores.retrieval import evaluate_ranking
from dgaug.settings import DataSettings

SIZE = (64, 32)


@pytest.fixture(scope="module")
def two_heads() -> ReidNetwork:
    torch.manual_seed(0)
    return ReidNetwork("small", 6, dropouts=(0.5, 0.75), pool="max", embedding=8).eval()


def split_of(run: Run, name: str) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Paths, identities and cameras read off the Market-1501 names."""
    folder = run.data_root() / {"query": "query", "gallery": "bounding_box_test"}[name]
    paths = sorted(folder.iterdir())
    identities = np.array([int(path.name.split("_")[0]) for path in paths])
    return paths, identities, np.array([int(path.name.split("_c")[1][0]) for path in paths])


def single_query(checkpoint: Path, data: Path, **options: Any) -> Tables:
    return evaluate_reid(checkpoint, data, **options).ranking["single-query"]


@pytest.mark.parametrize(("name", "scale"), [("prim", (1, 0)), ("fine", (0, 1)), ("both", (1, 0.3))])
def test_each_table_ranks_its_own_feature(
    tiny_run: Run, two_heads: ReidNetwork, name: str, scale: tuple[float, float]
) -> None:
    data = read_data(tiny_run.data_root(), DataSettings(), splits=("query", "gallery"))
    found = evaluate_network(two_heads, data, image_size=SIZE, fine_weight=0.3)
    assert list(found) == ["prim", "fine", "both"]
    sides = [split_of(tiny_run, split) for split in ("query", "gallery")]
    features = [features_of(two_heads, paths, SIZE, title="") for paths, _, _ in sides]
    query = features[0] * torch.tensor(scale).repeat_interleave(8)
    expected = evaluate_ranking(query, *sides[0][1:], features[1], *sides[1][1:])
    assert found[name] == expected
    assert found[name]["junk"] > 0
    assert found[name]["distractors"] > 0


def test_features_are_those_of_the_network_however_they_are_cut(tiny_run: Run, two_heads: ReidNetwork) -> None:
    paths, _, _ = split_of(tiny_run, "query")
    pixels = np.stack([to_pixels(open_picture(path), SIZE) for path in paths])
    expected = two_heads.features(normalise(torch.from_numpy(pixels)))
    assert torch.allclose(features_of(two_heads, paths, SIZE, title=""), expected, atol=1e-5)
    many = features_of(two_heads, paths * 5, SIZE, title="")
    assert many.shape == (90, 16)
    assert torch.allclose(many[72:], expected, atol=1e-5)


def test_a_teacher_is_evaluated_on_its_one_feature(tiny_run: Run) -> None:
    tables = single_query(tiny_run.teacher, tiny_run.data_root())
    assert list(tables) == ["prim"]
    assert 0 < tables["prim"]["sum_valid_queries/mAP"] < 1
    assert tables["prim"]["queries"] == 18


def test_a_gallery_with_the_queries_in_it_is_ranked_perfectly(tiny_run: Run, tmp_path: Path) -> None:
    for number, picture in enumerate(sorted((tiny_run.data_root() / "query").iterdir())[::3]):
        for folder, camera in (("query", 1), ("bounding_box_test", 2), ("bounding_box_train", 1)):
            (tmp_path / folder).mkdir(exist_ok=True)
            shutil.copy(picture, tmp_path / folder / f"{number + 1:04d}_c{camera}s1_000001_01.jpg")
    table = single_query(tiny_run.teacher, tmp_path)["prim"]
    assert table["sum_valid_queries/R1"] == 1
    assert table["trapezoid_all_queries/mAP"] == pytest.approx(1)


def test_pictures_of_the_queries_own_camera_count_where_cameras_are_not_used(tiny_run: Run) -> None:
    with_cameras = single_query(tiny_run.teacher, tiny_run.data_root())["prim"]
    without = single_query(tiny_run.teacher, tiny_run.data_root(), cameras="none")["prim"]
    assert with_cameras != without
    assert without["valid_queries"] == 18


def test_data_without_a_query_split_are_refused_with_what_is_missing(tiny_run: Run, tmp_path: Path) -> None:
    data = tmp_path / "people"
    shutil.copytree(tiny_run.data_root() / "bounding_box_train", data / "bounding_box_train")
    with pytest.raises(DgaugError, match="has no query and no gallery split"):
        evaluate_reid(tiny_run.teacher, data)


def test_the_appearance_encoder_of_a_run_is_evaluated_too(tiny_run: Run) -> None:
    tables = single_query(tiny_run.checkpoint, tiny_run.data_root())
    assert list(tables) == ["prim", "fine", "both"]
    assert len({table["sum_valid_queries/mAP"] for table in tables.values()}) > 1
