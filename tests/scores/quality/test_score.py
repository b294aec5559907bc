"""`score-fid`: every figure named after what made it, and right where the truth is known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.color import deltaE_cie76, rgb2lab

from dgaug.errors import DgaugError
from dgaug.files import read_json
from dgaug.models.checkpoints import load_reid
from dgaug.runs import Run
from dgaug.scores.quality import donor_metrics
from dgaug.scores.quality.identity_consistency import identity_consistency
from dgaug.scores.quality.image_sets import Sample, donor_images
from dgaug.scores.quality.oracle import (
    COPY_APPEARANCE,
    COPY_STRUCTURE,
    GENERATED,
    colour_difference,
    oracle_error,
    true_images,
)
from dgaug.scores.quality.results import flat
from dgaug.scores.quality.score import score_fid
from dgaug.scores.quality.ssim import self_reconstruction
from dgaug.store.read import StoreDataset, open_store
from dgaug.store.sources import Sources

Scores = dict[str, Any]


@pytest.fixture(autouse=True)
def _no_cached_inception(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))


@pytest.fixture(scope="module")
def scored(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scores, Path]:
    """The default scores of the tiny run, and the folder they were written to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        folder = tmp_path_factory.mktemp("scores")
        return score_fid(run=tiny_run.folder, out=folder), folder


def test_without_inception_weights_nothing_is_called_fid(scored: tuple[Scores, Path]) -> None:
    scores = scored[0]["scores"]
    assert {"frechet_teacher", "kernel_teacher", "ssim_self_reconstruction", "diversity_dssim"} <= scores.keys()
    assert {"identity_is_appearance", "identity_is_structure", "oracle"} <= scores.keys()
    assert not any("fid" in name or "kid" in name for name in flat(scores))
    assert all(np.isfinite(value) for value in flat(scores).values())


def test_the_result_says_everything_that_moves_it(scored: tuple[Scores, Path], tiny_run: Run) -> None:
    protocol = scored[0]["protocol"]
    assert protocol["name"] == "clean"
    assert protocol["generated"]["pictures"] == 576
    assert protocol["generated"]["sampled"] == protocol["real"]["sampled"] == 24
    assert protocol["image_size"] == [64, 32]
    assert protocol["encoders"]["teacher"]["sha256"] == load_reid(tiny_run.teacher).sha256
    assert protocol["generated"]["codec"] == "jpeg"
    assert protocol["features_kept"] == {"generated": 24, "real": 24}
    assert protocol["kernel_subset"] == 12
    assert protocol["looked_at_one_by_one"] == 256
    assert (protocol["judged"], protocol["block"]) == (None, [8, 8])


def test_the_files_hold_what_was_returned(scored: tuple[Scores, Path]) -> None:
    result, folder = scored
    assert read_json(folder / "scores.json") == result
    table = pd.read_csv(folder / "scores.csv").set_index("metric")["value"]
    assert table.to_dict() == pytest.approx(flat(result["scores"]))
    with Image.open(folder / "pairs.png") as sheet:
        assert sheet.height > 4 * 128, "both donors, the generated and the true image"


def test_equal_seeds_give_equal_scores(scored: tuple[Scores, Path], tiny_run: Run, tmp_path: Path) -> None:
    names = ["frechet", "diversity"]
    again = score_fid(tiny_run.store, metrics=names, out=tmp_path)
    frechet = {"frechet_teacher", "frechet_teacher_floor", "frechet_teacher_by_count"}
    assert again["scores"].keys() == {*frechet, "diversity_dssim"}
    assert again["scores"].items() <= scored[0]["scores"].items()


def must_not_run(*_: object, **__: object) -> None:
    raise AssertionError("nobody asked for it")


def test_only_what_the_metrics_need_is_read_searched_and_drawn(
    scored: tuple[Scores, Path], tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(donor_metrics, "full_block", must_not_run)
    result = score_fid(tiny_run.store, metrics=["structure"], out=tmp_path / "structure")
    assert result["scores"] == {"structure": scored[0]["scores"]["structure"]}
    assert made_in(tmp_path / "structure") == {"pairs.png"}
    monkeypatch.setattr(StoreDataset, "pairs", must_not_run)
    result = score_fid(tiny_run.store, metrics=["frechet", "kernel", "precision"], out=tmp_path / "features")
    assert result["scores"].items() <= scored[0]["scores"].items()
    assert made_in(tmp_path / "features") == {"clouds-teacher.png"}
    assert result["protocol"]["looked_at_one_by_one"] is None


@pytest.mark.parametrize(("metric", "sheets"), [("duplicates", {"near-duplicates.png", "clouds-teacher.png"})])
def test_a_metric_leaves_the_sheets_that_show_it(
    scored: tuple[Scores, Path], tiny_run: Run, tmp_path: Path, metric: str, sheets: set[str]
) -> None:
    result = score_fid(tiny_run.store, metrics=[metric], out=tmp_path)
    assert result["scores"].items() <= scored[0]["scores"].items()
    assert made_in(tmp_path) == sheets
    every = {"clouds-teacher.png", "pairs.png", "worst-and-best.png", "near-duplicates.png"}
    assert made_in(scored[1]) == every


def made_in(folder: Path) -> set[str]:
    """The image files of a scoring."""
    return {path.name for path in folder.glob("*.png")}


def test_the_published_protocol_takes_one_image_per_appearance(tiny_run: Run, tmp_path: Path) -> None:
    result = score_fid(run=tiny_run.folder, metrics=["frechet"], protocol="published", out=tmp_path)
    assert result["protocol"]["name"] == "published"
    assert result["protocol"]["generated"]["sampled"] == result["protocol"]["real"]["sampled"] == 24


def test_the_real_images_are_at_no_distance_from_themselves(tiny_run: Run, tmp_path: Path) -> None:
    real: dict[str, Any] = {"real": tiny_run.data_root(), "teacher": tiny_run.teacher}
    same = score_fid(tiny_run.data_root() / "bounding_box_train", metrics=["frechet", "kernel"], **real)["scores"]
    assert same["frechet_teacher"] == pytest.approx(0, abs=1e-4)
    other = score_fid(tiny_run.data_root() / "query", metrics=["frechet"], out=tmp_path, **real)["scores"]
    assert other["frechet_teacher"] > 0.01


def test_a_folder_of_images_has_no_donors(tiny_run: Run, tmp_path: Path) -> None:
    folder = tiny_run.data_root() / "query"
    with pytest.raises(DgaugError, match="ssim: needs to know the donors"):
        score_fid(folder, real=tiny_run.data_root(), metrics=["ssim"], teacher=tiny_run.teacher, out=tmp_path)
    with pytest.raises(DgaugError, match="give --real DIR"):
        score_fid(folder)


def test_donors_are_found_in_the_real_images_where_the_run_has_other_data(tiny_run: Run, tmp_path: Path) -> None:
    store, real, other = (tmp_path / name for name in ("store", "real", "other"))
    shutil.copytree(tiny_run.store, store)
    shutil.copytree(tiny_run.data_root(), real)
    shutil.copytree(tiny_run.folder, other, ignore=shutil.ignore_patterns("store", "scores"))
    own = score_fid(run=tiny_run.folder, metrics=["structure"], out=tmp_path / "own")
    for image in list(other.rglob("*_c*.jpg"))[1:]:  # one name in common tells nothing
        image.rename(image.with_name(f"{image.stem}0.jpg"))
    given: dict[str, Any] = {"run": other, "real": real, "metrics": ["structure"], "teacher": tiny_run.teacher}
    assert score_fid(store, **given, out=tmp_path / "out")["scores"] == own["scores"]


@pytest.mark.parametrize("name", ["fid", "kid"])
def test_fid_by_name_without_its_weights_says_what_to_fetch(tiny_run: Run, tmp_path: Path, name: str) -> None:
    with pytest.raises(DgaugError, match=r"pt_inception-2015-12-05-6726825d\.pth"):
        score_fid(run=tiny_run.folder, metrics=[name], out=tmp_path)
    with pytest.raises(DgaugError, match=r"none at .*gone"):
        score_fid(run=tiny_run.folder, inception_weights=tmp_path / "gone", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_unknown_names_are_refused_with_the_known_ones(tiny_run: Run) -> None:
    with pytest.raises(DgaugError, match="unknown metric 'lpips'; known are fid, kid"):
        score_fid(run=tiny_run.folder, metrics=["lpips"])
    with pytest.raises(DgaugError, match="unknown protocol 'best'; known are clean, published"):
        score_fid(run=tiny_run.folder, protocol="best")
    with pytest.raises(DgaugError, match="expected NAME=FILE"):
        score_fid(run=tiny_run.folder, metrics=["frechet"], encoder="resnet18")


def test_nothing_to_score_is_said_so(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(DgaugError, match="neither a store nor a folder"):
        score_fid(tmp_path / "gone", real=tiny_run.data_root())
    with pytest.raises(DgaugError, match="no image found"):
        score_fid(tmp_path, real=tiny_run.data_root())


@pytest.fixture(scope="module")
def sources(tiny_run: Run) -> Sources:
    return open_store(tiny_run.store).sources


def rows(*values: int) -> np.ndarray:
    return np.array(values)


def test_a_perfect_generator_makes_no_error_and_copies_do(tiny_run: Run, sources: Sources) -> None:
    root, pairs = tiny_run.data_root(), (rows(0, 5, 9, 20), rows(8, 13, 1, 2))
    blank = Sample(np.zeros((4, 64, 32, 3), np.uint8), *pairs)
    perfect = Sample(true_images(blank, sources, root), *pairs)
    errors = oracle_error(perfect, sources, root)
    assert errors[GENERATED]["clothed_body"] == errors[GENERATED]["picture"] == 0
    assert errors[GENERATED]["ssim"] == pytest.approx(1)
    assert errors[COPY_STRUCTURE]["clothed_body"] > 10
    assert errors[COPY_APPEARANCE]["picture"] > 10
    assert errors[COPY_STRUCTURE] == pytest.approx(oracle_error(blank, sources, root)[COPY_STRUCTURE])


def test_colour_differences_are_those_of_scikit_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 6, 3), dtype=np.uint8)
    expected = deltaE_cie76(rgb2lab(images[0]), rgb2lab(images[1]))
    np.testing.assert_allclose(colour_difference(*images), expected, rtol=1e-3, atol=1e-2)
    assert colour_difference(images[0], images[0]).max() == 0


def test_the_true_image_stands_like_its_structure_and_wears_its_appearance(tiny_run: Run, sources: Sources) -> None:
    pairs = np.arange(0, 24, 2), np.roll(np.arange(0, 24, 2), 5)
    errors = oracle_error(Sample(np.zeros((12, 64, 32, 3), np.uint8), *pairs), sources, tiny_run.data_root())
    assert errors[COPY_STRUCTURE]["picture"] < errors[COPY_APPEARANCE]["picture"], "its background is the structure's"
    assert errors[COPY_STRUCTURE]["ssim"] > errors[COPY_APPEARANCE]["ssim"]


def test_the_true_image_of_a_pair_of_one_is_its_own_image(tiny_run: Run, sources: Sources) -> None:
    own = Sample(np.zeros((3, 64, 32, 3), np.uint8), rows(0, 7, 20), rows(0, 7, 20))
    true = true_images(own, sources, tiny_run.data_root())
    real = donor_images(sources, rows(0, 7, 20), tiny_run.data_root(), (64, 32))
    assert np.abs(true.astype(int) - real).mean() < 3  # the file is a JPEG


def test_self_reconstruction_is_perfect_for_the_images_themselves(tiny_run: Run, sources: Sources) -> None:
    real = donor_images(sources, rows(1, 2, 3), tiny_run.data_root(), (64, 32))
    result = self_reconstruction(Sample(real, rows(1, 2, 3), rows(1, 2, 3)), sources, tiny_run.data_root())
    assert result == pytest.approx({"ssim_self_reconstruction": 1, "l1_self_reconstruction": 0})
    wrong = self_reconstruction(Sample(255 - real, rows(1, 2, 3), rows(1, 2, 3)), sources, tiny_run.data_root())
    assert wrong["ssim_self_reconstruction"] < 0.5
    assert wrong["l1_self_reconstruction"] > 10


def test_identity_consistency_counts_whom_the_judge_sees(tiny_run: Run, sources: Sources) -> None:
    judge = load_reid(tiny_run.teacher)
    everyone, shifted = np.arange(24), np.roll(np.arange(24), 4)
    real = donor_images(sources, everyone, tiny_run.data_root(), (64, 32))
    result = identity_consistency(Sample(real, everyone, shifted), sources, judge)
    turned = identity_consistency(Sample(real, shifted, everyone), sources, judge)
    assert result["identity_is_appearance"] == turned["identity_is_structure"]
    assert result["identity_is_structure"] == turned["identity_is_appearance"]
    assert result["identity_is_appearance"] + result["identity_is_structure"] <= 1
    assert result["identity_is_appearance"] > 1 / 6
