"""`train-reid`: a model and its twin on equal terms, and a study that resumes where it stopped."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

from dgaug.data.toy import write_toy
from dgaug.errors import DgaugError, Interrupted
from dgaug.files import read_json, write_json
from dgaug.models.reid import ReidNetwork
from dgaug.runs import Run
from dgaug.store.read import open_store
from dgaug.studies.study import Row
from dgaug.studies.train_reid import AUGMENTED, FEWER, TWIN, differences, summary, train_reid
from dgaug.synthesis.job import synthesize

STEPS = 6
Results = dict[str, Any]


@pytest.fixture(scope="module")
def study(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    """A finished study of two seeds, and its folder."""
    folder = tmp_path_factory.mktemp("reid")
    return train_reid(tiny_run.folder, seeds=2, out=folder), folder


def test_every_seed_has_a_model_and_its_twins(study: tuple[Results, Path]) -> None:
    results, folder = study
    result = [(run["variant"], run["seed"]) for run in results["runs"]]
    assert result == [(variant, seed) for seed in (0, 1) for variant in (AUGMENTED, TWIN, FEWER)]
    assert {run.keys() >= {"ranking"} for run in results["runs"]} == {True}
    assert all(set(run["ranking"]) == {"prim", "fine", "both"} for run in results["runs"])
    for variant, seed in result:
        assert (folder / f"seed{seed}-{variant.replace(',', '').replace(' ', '-')}" / "last.pt").is_file()


def test_the_files_hold_what_was_returned(study: tuple[Results, Path]) -> None:
    results, folder = study
    assert read_json(folder / "results.json") == results
    table = pd.read_csv(folder / "results.csv")
    assert len(table) == 6 * 3
    assert set(table.columns) >= {"variant", "seed", "feature", "sum_valid_queries/R1", "trapezoid_all_queries/mAP"}


def test_the_protocol_says_what_was_compared(study: tuple[Results, Path]) -> None:
    protocol = study[0]["protocol"]
    assert protocol["seeds"] == [0, 1]
    assert protocol["optimiser_steps"] == STEPS
    assert protocol["pictures_per_step"] == 16
    assert (protocol["labels"], protocol["model"]) == ("soft", "dgnet")


def test_the_headline_is_the_mean_and_spread_over_seeds() -> None:
    def row(seed: int, figure: float) -> Row:
        table = {
            "sum_valid_queries/R1": figure,
            "sum_valid_queries/mAP": figure / 2,
            "trapezoid_all_queries/mAP": figure / 4,
        }
        return Row(TWIN, seed, {"prim": dict.fromkeys(table, 0.0), "both": dict(table)})

    result = summary([row(0, 0.2), row(1, 0.4), row(2, 0.6)])[TWIN]
    assert result["rank-1"] == pytest.approx({"mean": 0.4, "spread": 0.2, "seeds": 3})
    assert result["mAP (sum, valid queries)"]["mean"] == pytest.approx(0.2)
    assert summary([row(0, 0.2)])[TWIN]["rank-1"]["spread"] is None


def test_differences_are_taken_seed_by_seed() -> None:
    def row(variant: str, seed: int, figure: float) -> Row:
        table = dict.fromkeys(("sum_valid_queries/R1", "sum_valid_queries/mAP", "trapezoid_all_queries/mAP"), figure)
        return Row(variant, seed, {"prim": dict(table)})

    figures = {AUGMENTED: (0.5, 0.7, 0.9), TWIN: (0.4, 0.5, 0.9)}
    rows = [row(variant, seed, figure) for variant, result in figures.items() for seed, figure in enumerate(result)]
    result = differences(rows)
    assert result.keys() == {TWIN}
    low, high = stats.t.interval(0.95, 2, loc=0.1, scale=0.1 / 3**0.5)
    expected = {"mean": 0.1, "spread": 0.1, "seeds": 3, "low": low, "high": high}
    assert result[TWIN]["rank-1"] == pytest.approx(expected)
    assert differences([rows[0], rows[3]])[TWIN]["rank-1"]["low"] is None


def test_twins_start_alike_and_end_apart(study: tuple[Results, Path]) -> None:
    def tensors(variant: str, seed: int) -> dict[str, torch.Tensor]:
        content = torch.load(study[1] / f"seed{seed}-{variant}" / "last.pt", weights_only=True)
        return dict(content["network"])

    augmented, twin, other = tensors("augmented", 0), tensors("real-only", 0), tensors("real-only", 1)
    # Warm-up keeps six steps small: twins are still close to their common start, another seed is not.
    name = "backbone.stages.0.weight"
    assert not torch.equal(augmented[name], twin[name])
    assert (augmented[name] - twin[name]).norm() < 0.5 * (other[name] - twin[name]).norm()


def test_twins_see_as_many_images_in_every_step(tiny_run: Run, tmp_path: Path) -> None:
    passes: list[int] = []
    steps: dict[str, list[int]] = {}

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, ReidNetwork) and module.training:
            passes.append(len(inputs[0]))

    def listen(title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        if title.startswith("re-id"):
            steps.setdefault(title, []).append(sum(passes))
            passes.clear()

    hook = nn.modules.module.register_module_forward_pre_hook(count)
    try:
        train_reid(tiny_run.folder, out=tmp_path, progress=listen)
    finally:
        hook.remove()
    assert steps == {
        "re-id, augmented, seed 0": [16] * STEPS,
        "re-id, real only, seed 0": [16] * STEPS,
        "re-id, real only, as many real, seed 0": [8] * STEPS,
    }


class StopIn:
    """A listener that interrupts inside one model's training and remembers what was trained."""

    def __init__(self, title: str = "", done: int = 0) -> None:
        self.place = title, done
        self.titles: list[str] = []

    def __call__(self, title: str, done: int, total: int, values: Mapping[str, float] | None = None) -> None:
        self.titles.append(title)
        if (title, done) == self.place:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_study_skips_what_is_finished_and_ends_the_same(
    study: tuple[Results, Path], tiny_run: Run, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        train_reid(tiny_run.folder, seeds=2, out=tmp_path, progress=StopIn("re-id, real only, seed 0", 3))
    again = StopIn()
    assert train_reid(tiny_run.folder, seeds=2, out=tmp_path, progress=again) == study[0]
    assert "re-id, augmented, seed 0" not in again.titles
    assert again.titles.count("re-id, real only, seed 0") == STEPS - 3


def test_more_seeds_are_added_to_a_finished_study(study: tuple[Results, Path], tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(study[1], tmp_path / "reid")
    listener = StopIn()
    results = train_reid(tiny_run.folder, seeds=3, twin=False, out=tmp_path / "reid", progress=listener)
    assert {title for title in listener.titles if title.startswith("re-id")} == {"re-id, augmented, seed 2"}
    assert [run["seed"] for run in results["runs"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"labels": "lsro"}, "reid.labels"),
        ({"model": "baseline"}, "--model"),
        ({"overrides": ["reid.gamma=0.5"]}, "reid.gamma"),
    ],
)
def test_another_study_is_refused_by_what_differs(
    study: tuple[Results, Path], tiny_run: Run, changed: dict[str, Any], named: str
) -> None:
    with pytest.raises(DgaugError, match=rf"other settings \({named}: "):
        train_reid(tiny_run.folder, out=study[1], **changed)


def test_a_study_of_an_earlier_version_goes_on(study: tuple[Results, Path], tiny_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "reid"
    shutil.copytree(study[1], folder)
    later = ("jitter", "local_grey", "stop_generated", "identity_mixup", "ratio_end", "teacher_end")
    later = ("--select", *(f"reid.{name}" for name in later))
    before = read_json(folder / "study.json")
    write_json(folder / "study.json", {name: value for name, value in before.items() if name not in later})
    assert train_reid(tiny_run.folder, seeds=2, out=folder) == study[0]
    write_json(folder / "study.json", {name: value for name, value in before.items() if name not in later})
    with pytest.raises(DgaugError, match=r"other settings \(reid\.jitter: 0.0 -> 0.1\)"):
        train_reid(tiny_run.folder, seeds=2, overrides=["reid.jitter=0.1"], out=folder)


def test_a_mistake_does_not_stand_in_the_way_of_the_right_command(tiny_run: Run, tmp_path: Path) -> None:
    for wrong, output in (
        ({"labels": "hard"}, "unknown label policy 'hard'"),
        ({"feed": "video"}, "unknown feed 'video'"),
        ({"model": "vit"}, "unknown model 'vit'"),
        ({"overrides": ["reid.ratio=0"]}, "reid.ratio"),
    ):
        with pytest.raises(DgaugError, match=output):
            train_reid(tiny_run.folder, out=tmp_path, **wrong)
    train_reid(tiny_run.folder, twin=False, overrides=["reid.iterations=1"], out=tmp_path)


def test_force_trains_again(tiny_run: Run, tmp_path: Path) -> None:
    short = ["reid.iterations=1"]
    train_reid(tiny_run.folder, twin=False, overrides=short, out=tmp_path)
    results = train_reid(tiny_run.folder, model="baseline", twin=False, overrides=short, out=tmp_path, force=True)
    assert set(results["runs"][0]["ranking"]) == {"prim"}


def test_without_feed_only_the_twin_is_trained(tiny_run: Run, tmp_path: Path) -> None:
    results = train_reid(tiny_run.folder, feed="none", out=tmp_path)
    assert [run["variant"] for run in results["runs"]] == [TWIN]
    assert results["protocol"]["labels"] is None
    assert results["protocol"]["pictures_per_step"] == 8


def test_data_and_store_do_without_a_run(study: tuple[Results, Path], tiny_run: Run, tmp_path: Path) -> None:
    parts = {"data": tiny_run.data_root(), "store": tiny_run.store, "config": tiny_run.config}
    results = train_reid(**parts, out=tmp_path)
    assert results["runs"] == study[0]["runs"][:3]
    with pytest.raises(DgaugError, match="--data needs --out"):
        train_reid(**parts)
    with pytest.raises(DgaugError, match="--data needs --store"):
        train_reid(data=tiny_run.data_root(), config=tiny_run.config, out=tmp_path)


def test_a_store_of_other_identities_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    write_toy(tmp_path / "others", identities=3, images_per_identity=2, cameras=2)
    synthesize(tiny_run.folder, data=tmp_path / "others", teacher="none", pairs="random:4", out=tmp_path / "store")
    with pytest.raises(DgaugError, match="was made from other images, 6 of 3 identities: 21 of these 24 of 6"):
        train_reid(tiny_run.folder, store=tmp_path / "store", out=tmp_path / "reid")
    assert not (tmp_path / "reid").exists()


def test_a_store_without_labels_takes_them_from_the_runs_teacher(tiny_run: Run, tmp_path: Path) -> None:
    synthesize(tiny_run.folder, teacher="none", pairs="random:4", out=tmp_path / "store")
    parts = {"data": tiny_run.data_root(), "store": tmp_path / "store", "config": tiny_run.config}
    with pytest.raises(DgaugError, match="has no labels; synthesize one with a teacher, or give --teacher FILE"):
        train_reid(**parts, out=tmp_path / "reid")
    assert not (tmp_path / "reid").exists()
    short = {"overrides": ["reid.iterations=1"], "twin": False}
    by_run = train_reid(tiny_run.folder, store=tmp_path / "store", out=tmp_path / "run", **short)
    by_name = train_reid(**parts, teacher=tiny_run.teacher, out=tmp_path / "named", **short)
    assert by_run["runs"] == by_name["runs"]


def test_an_online_feed_draws_from_codes_that_it_makes_once(tiny_run: Run, tmp_path: Path) -> None:
    short = {"overrides": ["reid.iterations=1"], "twin": False, "out": tmp_path}
    online = train_reid(tiny_run.folder, feed="online", **short)
    assert open_store(tmp_path / "codes").spec.virtual
    assert (online["protocol"]["feed"], online["protocol"]["pictures_per_step"]) == ("online", 16)
    again = train_reid(tiny_run.folder, store=tmp_path / "codes", feed="online", **short)
    assert again["runs"] == online["runs"]
    both = train_reid(tiny_run.folder, feed="both", force=True, **short)
    assert both["protocol"]["pictures_per_step"] == 16
    assert both["runs"] != online["runs"]
    with pytest.raises(DgaugError, match=r"draws from a store of codes, .* holds images; use --feed stored"):
        train_reid(tiny_run.folder, feed="online", store=tiny_run.store, out=tmp_path / "other")


@pytest.mark.parametrize(
    ("model", "labels", "features"),
    [("bot", "soft", {"prim"}), ("pcb", "lsro", {"prim"}), ("dgnet", "extra-class", {"prim", "fine", "both"})],
)
def test_every_model_trains_beside_its_twin(
    tiny_run: Run, tmp_path: Path, model: str, labels: str, features: set[str]
) -> None:
    results = train_reid(tiny_run.folder, model=model, labels=labels, overrides=["reid.iterations=2"], out=tmp_path)
    assert [run["variant"] for run in results["runs"]] == [AUGMENTED, TWIN, FEWER]
    assert {frozenset(run["ranking"]) for run in results["runs"]} == {frozenset(features)}


def test_a_study_of_few_images_uses_only_what_was_made_of_them(
    tiny_run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="dgaug")
    few = train_reid(
        tiny_run.folder, identities_fraction=0.5, images_per_identity=2, overrides=["reid.iterations=1"], out=tmp_path
    )
    assert few["protocol"]["data"]["training_images"] == 6
    assert few["protocol"]["data"]["training_identities"] == 3
    assert "may have seen 24 images, these models see 6" in caplog.text


def test_an_unfinished_store_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        synthesize(tiny_run.folder, shard_size=96, out=tmp_path / "store", progress=StopIn("synthesis", 128))
    with pytest.raises(DgaugError, match="unfinished"):
        train_reid(tiny_run.folder, store=tmp_path / "store", out=tmp_path / "reid")


def test_data_without_queries_are_refused(tiny_run: Run, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.data_root() / "bounding_box_train", tmp_path / "people" / "bounding_box_train")
    with pytest.raises(DgaugError, match="has no query and no gallery split"):
        train_reid(data=tmp_path / "people", store=tiny_run.store, config=tiny_run.config, out=tmp_path / "reid")
