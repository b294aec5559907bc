"""Evaluation of a re-id checkpoint: which images count, which features are ranked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import RunCommand, tiny_settings

from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import normalise
from dgaug.data.prepare import read_data
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import appearance_architecture, reid_content, save
from dgaug.models.reid import ReidNetwork
from dgaug.runs import Run
from dgaug.scores.retrieval.evaluate import evaluate_network, evaluate_reid
from dgaug.scores.retrieval.features import features_of
from dgaug.scores.retrieval.protocols import Tables
from dgaug.scores.retrieval.ranking import evaluate_ranking
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
    result = evaluate_network(two_heads, data, image_size=SIZE, fine_weight=0.3)
    assert list(result) == ["prim", "fine", "both"]
    sides = [split_of(tiny_run, split) for split in ("query", "gallery")]
    features = [features_of(two_heads, paths, SIZE, title="") for paths, _, _ in sides]
    query = features[0] * torch.tensor(scale).repeat_interleave(8)
    expected = evaluate_ranking(query, *sides[0][1:], features[1], *sides[1][1:])
    assert result[name] == expected
    assert result[name]["junk"] > 0
    assert result[name]["distractors"] > 0


def test_features_are_those_of_the_network_however_they_are_cut(tiny_run: Run, two_heads: ReidNetwork) -> None:
    paths, _, _ = split_of(tiny_run, "query")
    pixels = np.stack([to_pixels(open_image(path), SIZE) for path in paths])
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


def test_a_network_with_one_head_has_no_weight_to_choose(tiny_run: Run) -> None:
    plain, auto = (evaluate_reid(tiny_run.teacher, tiny_run.data_root(), fine_weight=w) for w in (0.5, "auto"))
    assert plain.ranking == auto.ranking
    assert auto.protocol["fine_weight"] is auto.protocol["fine_weight_chosen_by"] is None


def with_queries_in_gallery(run: Run, data: Path, save: Callable[[Path, Path], object]) -> list[Path]:
    """The data of a run and, under another camera, the gallery's copies of its first queries; the queries copied."""
    shutil.copytree(run.data_root(), data)
    queries = sorted((data / "query").iterdir())[:5]
    for number, query in enumerate(queries):
        save(query, data / "bounding_box_test" / f"{query.name.split('_')[0]}_c9s1_{number:06d}_01.png")
    return queries


def saved_again(source: Path, path: Path) -> None:
    with Image.open(source) as image:
        image.convert("RGB").save(path, "PNG")


@pytest.mark.parametrize(("save", "kind"), [(shutil.copy, "same_file"), (saved_again, "same_features")])
def test_queries_copied_into_the_gallery_never_rank_for_themselves(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand, save: Callable[[Path, Path], object], kind: str
) -> None:
    with_queries_in_gallery(tiny_run, tmp_path / "people", save)
    result = dgaug("eval-reid", tiny_run.teacher, "--data", tmp_path / "people", "--json")
    output = json.loads(result.out)
    assert output["protocol"]["copies_left_out"] == {"same_file": 0, "same_features": 0} | {kind: 5}
    assert output["prim"]["copies"] == 5
    words = "byte for byte a query's own" if kind == "same_file" else "features to the last bit"
    assert "5 times a gallery" in result.err
    assert words in result.err
    # The first query alone: the gallery of the other queries' copies, and without its own.
    plain = evaluate_reid(tiny_run.teacher, tiny_run.data_root())
    copied = evaluate_reid(tiny_run.teacher, tmp_path / "people")
    records = [image.record.path for image in copied.ranked(0, count=100)]
    own = "bounding_box_test/" + copied.query.records[0].path.removeprefix("query/").split("_")[0] + "_c9s1_000000"
    assert not [path for path in records if path.startswith(own)]
    assert len(records) == len(plain.ranked(0, count=100)) + 4


def test_a_gallery_of_nothing_but_copies_is_refused_before_it_is_ranked(tiny_run: Run, tmp_path: Path) -> None:
    for number, image in enumerate(sorted((tiny_run.data_root() / "query").iterdir())[::3]):
        for folder, camera in (("query", 1), ("bounding_box_test", 2), ("bounding_box_train", 1)):
            (tmp_path / folder).mkdir(exist_ok=True)
            shutil.copy(image, tmp_path / folder / f"{number + 1:04d}_c{camera}s1_000001_01.jpg")
    with pytest.raises(DgaugError, match="are the query files themselves"):
        evaluate_reid(tiny_run.teacher, tmp_path)


def test_images_of_the_queries_own_camera_count_where_cameras_are_not_used(tiny_run: Run) -> None:
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


@pytest.fixture(scope="module")
def checkpoint(tiny_run: Run, two_heads: ReidNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-head network in a file."""
    path = tmp_path_factory.mktemp("reid") / "last.pt"
    settings = tiny_settings(model={"embedding": 8})
    content = reid_content(two_heads, appearance_architecture(settings, 6), [str(n) for n in range(6)], SIZE)
    save(path, content)
    return path


@pytest.mark.parametrize("metric", ["euclidean", "inner"])
@pytest.mark.parametrize("flip", [True, False])
def test_other_metrics_rank_the_features_as_they_are(
    tiny_run: Run, two_heads: ReidNetwork, checkpoint: Path, metric: str, flip: bool
) -> None:
    result = evaluate_reid(checkpoint, tiny_run.data_root(), metric=metric, flip=flip)
    sides = [split_of(tiny_run, split) for split in ("query", "gallery")]
    features = []
    for paths, _, _ in sides:
        pixels = np.stack([to_pixels(open_image(path), SIZE) for path in paths])
        images = normalise(torch.from_numpy(pixels))
        views = (images, images.flip(3)) if flip else (images,)
        features.append(torch.stack([two_heads(view).embeddings[1] for view in views]).mean(0).detach())
    expected = evaluate_ranking(features[0], *sides[0][1:], features[1], *sides[1][1:], metric=metric)
    assert result.ranking["single-query"]["fine"] == pytest.approx(expected)
    assert (result.protocol["metric"], result.protocol["flip"]) == (metric, flip)


def test_every_protocol_at_once_with_features_and_ranked_lists(
    tiny_run: Run, checkpoint: Path, tmp_path: Path, dgaug: RunCommand
) -> None:
    data = tmp_path / "people"
    shutil.copytree(tiny_run.data_root(), data)
    shutil.copytree(data / "query", data / "gt_bbox")
    min((data / "gt_bbox").iterdir()).unlink()
    options = ["--rerank", "--rerank-k1", "6", "--multi-query", "--single-shot", "3", "--fine-weight", "auto"]
    files = ["--features", tmp_path / "f.h5", "--ranked-lists", tmp_path / "lists.png"]
    output = json.loads(dgaug("eval-reid", checkpoint, "--data", data, *options, *files, "--json").out)
    features, others = ["prim", "fine", "both"], ["multi-query", "re-ranked", "single-gallery-shot"]
    assert list(output) == [*features, *others, "protocol"]
    single = {name: output[name] for name in features}
    for tables in (single, *(output[name] for name in others)):
        assert list(tables) == features
        assert all(0 < table["sum_valid_queries/mAP"] <= 1 for table in tables.values())
    # One query image of each identity and camera at most: it is its own multi-query.
    assert output["protocol"]["multi_query"] == {"pictures": 17, "queries_by_their_own_picture": 1}
    assert output["protocol"]["single_gallery_shot"] == {"repeats": 3, "seed": 0}
    assert output["multi-query"] == single
    protocol = output["protocol"]
    assert protocol["reranking"] == {"k1": 6, "k2": 6, "original": 0.3}
    assert protocol["fine_weight_chosen_by"]["queries"] > 0
    with Image.open(tmp_path / "lists.png") as image:
        assert image.height > 8 * 128
    with h5py.File(tmp_path / "f.h5") as hdf5:
        assert set(hdf5) == {"query", "gallery", "multi-query"}
        assert hdf5.attrs["parts"] == 2
        assert json.loads(hdf5.attrs["protocol"]) == protocol
        result = {
            split: (
                group["feature"][:],
                np.array([int(name) for name in group["identity"].asstr()]),
                group["camera"][:],
            )
            for split, group in hdf5.items()
        }
        assert hdf5["query/path"].asstr()[0] == "query/" + min(path.name for path in (data / "query").iterdir())
        assert set(hdf5["gallery/role"].asstr()) == {"identity", "junk", "distractor"}
    halves = result["query"][0][:, :8], result["gallery"][0][:, :8]
    table = evaluate_ranking(halves[0], *result["query"][1:], halves[1], *result["gallery"][1:])
    assert output["prim"] == table


def test_npz_holds_the_same_features(tiny_run: Run, checkpoint: Path, tmp_path: Path) -> None:
    result = evaluate_reid(checkpoint, tiny_run.data_root(), features=tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz") as file:
        assert np.array_equal(file["gallery/feature"], result.gallery.features.numpy())
        assert file["query/path"].tolist() == [record.path for record in result.query.records]
        assert file["parts"] == 2


def test_a_model_of_other_identities_is_a_transfer(tiny_run: Run, checkpoint: Path, dgaug: RunCommand) -> None:
    command = ("eval-reid", checkpoint, "--data", tiny_run.data_root())
    assert "a cross-dataset result" in dgaug(*command).err
    assert evaluate_reid(tiny_run.teacher, tiny_run.data_root()).protocol["trained_on_these_identities"] is True


def test_data_without_cameras_say_so(tiny_run: Run, tmp_path: Path, dgaug: RunCommand) -> None:
    for folder in ("query", "bounding_box_test"):
        (tmp_path / folder).mkdir()
        for row, image in enumerate(sorted((tiny_run.data_root() / folder).iterdir())):
            shutil.copy(image, tmp_path / folder / f"{image.name.split('_')[0]}_{row}.jpg")
    command = ("eval-reid", tiny_run.teacher, "--data", tmp_path)
    shown = dgaug(*command)
    assert shown.code == 0
    assert "no camera is known of 18 of 18 query images" in shown.err
    assert "cameras unknown" in shown.err
    assert "images have no camera" in dgaug(*command, "--cameras", "required").error()


def one_identity(data: Path) -> None:
    for image in (data / "bounding_box_test").iterdir():
        if not image.name.startswith("0007"):
            image.unlink()


def no_match(data: Path) -> None:
    for image in (data / "query").iterdir():
        image.rename(image.with_name("9" + image.name[1:]))


def nothing(data: Path) -> None:
    """The data as they are."""


WRONG = [
    (one_identity, "", "gallery images show the identity '0007', so every ranking of them is right"),
    (no_match, "", "none of the 18 queries has a gallery image of its identity from another camera"),
    (nothing, "--multi-query", "has no multi-query images"),
    (nothing, "--metric manhattan", "unknown metric 'manhattan'"),
    (nothing, "--rerank --metric inner", "re-ranking needs a distance"),
    (nothing, "--rerank --rerank-k1 0", "expected k1 and k2 of at least 1"),
    (nothing, "--fine-weight -1", "expected a number from 0 on or auto, found '-1'"),
    (nothing, "--fine-weight best", "expected a number from 0 on or auto, found 'best'"),
    (nothing, "--features features.txt", "expected a file of features to end in .h5, .hdf5, .npz"),
    (nothing, "--ranked-lists {data}", "is already there"),
]


@pytest.mark.parametrize(("prepare", "options", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_what_cannot_be_evaluated_is_one_line(
    tiny_run: Run, tmp_path: Path, dgaug: RunCommand, prepare: Callable[[Path], None], options: str, said: str
) -> None:
    data = tmp_path / "people"
    shutil.copytree(tiny_run.data_root(), data)
    prepare(data)
    command = ("eval-reid", tiny_run.teacher, "--data", data, *options.format(data=data).split())
    assert said in dgaug(*command).error()


def test_a_network_that_has_diverged_is_named(
    tiny_run: Run, checkpoint: Path, tmp_path: Path, dgaug: RunCommand
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["network"]["heads.1.norm.weight"].fill_(float("nan"))
    save(tmp_path / "last.pt", content)
    command = ("eval-reid", tmp_path / "last.pt", "--data", tiny_run.data_root(), "--features", tmp_path / "f.h5")
    assert "18 of 18 query features hold NaN or infinity" in dgaug(*command).error()
    assert not (tmp_path / "f.h5").exists()
