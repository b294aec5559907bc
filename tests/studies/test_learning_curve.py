"""`study`: killed and resumed to the same bytes, its models on the images of their point, and what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_run import RunCommand, finish_process, signal_at, start_cold, start_process, write_config

from dgaug.data.prepare import read_data
from dgaug.errors import DgaugError
from dgaug.files import read_json
from dgaug.runs import Run
from dgaug.settings import DataSettings, load_settings
from dgaug.studies.learning_curve import study
from dgaug.studies.points import fractions_of, point, require_fractions, split_to_choose

SHORT: dict[str, dict[str, object]] = {
    "toy": {"identities": 6, "images_per_identity": 4},
    "model": {"width": 0.125},
    "teacher": {"iterations": 2},
    "schedule": {"iterations": 2},
    "reid": {"iterations": 2},
    "checkpoint": {"every": 1, "preview": 9},
}
FRACTIONS = ("--fractions", "0.5,1", "--repeats", "3", "--steps", "1,2", "--rates", "1", "--pairs", "random:20")
RESULTS = ("results.json", "results.csv", "table.csv", "curve.png", "report.html")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("config") / "tiny.yaml", **SHORT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, config: Path) -> tuple[Path, dict[str, Any]]:
    """A study that was not disturbed, and what it returned."""
    out = tmp_path_factory.mktemp("study") / "out"
    asked = {"fractions": "0.5,1", "repeats": 3, "steps": "1,2", "rates": "1", "pairs": "random:20"}
    results: dict[str, Any] = json.loads(json.dumps(study(config=config, **asked, out=out)))
    return out, results


def test_a_killed_study_ends_with_the_bytes_of_one_that_was_not(
    finished: tuple[Path, dict[str, Any]], config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    for name in ("1/repeat2", "0.5/repeat1/seed1-generated", "0.5/chosen"):
        shutil.rmtree(out / name)
    for name in RESULTS:
        (out / name).unlink()
    asked = ("study", "--config", config, *FRACTIONS, "--out", out)
    state = out / "0.5" / "repeat1" / "seed1-generated" / "last.state.pt"
    killed = signal_at(state, signal.SIGKILL, *asked)
    assert killed.code == -signal.SIGKILL
    assert not (out / "results.json").exists()
    helper = start_process(*asked)
    ended = finish_process(start_process(*asked, "--json"))
    assert ended.code == 0, ended.err
    assert finish_process(helper).code == 0
    assert json.loads(ended.out) == finished[1]
    for name in RESULTS:
        assert (out / name).read_bytes() == (finished[0] / name).read_bytes(), name


@pytest.mark.slow
def test_a_worker_of_ray_does_what_is_left_to_the_same_bytes(
    finished: tuple[Path, dict[str, Any]], config: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "out")
    shutil.rmtree(tmp_path / "out/1/repeat2/seed2-generated")
    ended = finish_process(
        start_cold("study", "--config", config, *FRACTIONS, "--out", "out", "--engine", "ray", cwd=tmp_path)
    )
    assert ended.code == 0, ended.err
    told = [line for line in ended.err.splitlines() if line.startswith("study")]
    assert told
    assert len(told) == len(set(told)), "a count said twice"
    for name in RESULTS:
        assert (tmp_path / "out" / name).read_bytes() == (finished[0] / name).read_bytes(), name


def test_every_point_has_every_arm_its_intervals_and_what_it_is_worth(finished: tuple[Path, dict[str, Any]]) -> None:
    out, results = finished
    assert read_json(out / "results.json") == results
    points = {(line["fraction"], line["arm"]): line for line in results["points"]}
    arms = ("real", "augmented", "generated", "copied", "true")
    assert list(points) == [(fraction, arm) for fraction in (0.5, 1.0) for arm in arms]
    for (fraction, arm), line in points.items():
        assert line["images"] == 24 * fraction
        assert {len(values) for values in line["by_repeat"].values()} == {3}
        others = {"real", "augmented"} | ({"generated"} if arm in ("copied", "true") else set())
        assert set(line["minus"]) == (others - {arm} if arm != "real" else set())
        assert (line["worth"] is None) == (arm == "real")
        for metrics in line["minus"].values():
            difference = metrics["mAP (sum, valid queries)"]
            assert difference["low"] < difference["mean"] < difference["high"]
    assert results["protocol"]["chosen"]["0.5"]["held_out_mAP"].keys() == {"real", "generated"}
    assert results["protocol"]["generator"] == "trained at each point on its images alone"
    assert len(pd.read_csv(out / "results.csv")) == 2 * 3 * 5
    assert set(pd.read_csv(out / "table.csv")["generator"]) == {results["protocol"]["generator"]}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == (1 + 10) + (1 + 18) + (1 + 8)
    assert "still rising" in page or not any(one["still_rising"] for one in results["protocol"]["chosen"].values())
    chart = np.asarray(Image.open(out / "curve.png").convert("RGB"))
    assert len(np.unique(chart.reshape(-1, 3), axis=0)) > 50


def test_a_generator_sees_the_images_of_its_point_and_no_others(finished: tuple[Path, dict[str, Any]]) -> None:
    out, _ = finished
    settings = load_settings(out.parent / "out" / "0.5" / "repeat1" / "generator" / "run" / "config.yaml")
    assert (settings.data.images_fraction, settings.data.subset_seed, settings.seed) == (0.5, 1, 1)
    data = read_data(out / "embedded" / "data", DataSettings(height=64, width=32))
    names = [
        {record.path for record in point(data, load_settings("toy"), "images", 0.5, repeat, out).data.splits["train"]}
        for repeat in (0, 1)
    ]
    assert names[0] != names[1]
    seen = read_data(out / "embedded" / "data", settings.data).splits["train"]
    assert {record.path for record in seen} == names[1]


def test_lengths_are_chosen_on_people_that_are_not_trained_on(finished: tuple[Path, dict[str, Any]]) -> None:
    data = read_data(finished[0] / "embedded" / "data", DataSettings(height=64, width=32))
    one = point(data, load_settings("toy"), "images", 0.5, 0, finished[0])
    chosen = split_to_choose(one, data)
    trained, ranked = (
        {record.identity for split in splits for record in chosen.splits[split]}
        for splits in (("train",), ("query", "gallery"))
    )
    assert len(trained) == 4
    assert len(ranked) == 2
    assert not trained & ranked
    assert set(chosen.splits["train"]) < set(one.data.splits["train"])
    assert not ranked & {record.identity for record in data.splits["query"]}


def test_more_repeats_and_arms_are_added_and_another_study_is_refused(
    finished: tuple[Path, dict[str, Any]], config: Path, dgaug: RunCommand, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    asked = ("study", "--config", config, *FRACTIONS, "--out", out)
    other = dgaug(*asked, "--set", "reid.gamma=0.5")
    assert "was made with other settings (reid.gamma: 0.1 -> 0.5)" in other.error()
    arms = ("real", "generated", "falling-ratio", "selected-diverse", "mixup", "structures")
    more = dgaug(*asked, "--arms", ",".join(arms))
    assert more.code == 0, more.err
    results = read_json(out / "results.json")
    assert [line["arm"] for line in results["points"]] == [*arms, *arms]
    assert "selected-diverse: 11 generated images kept, 9 left out; the judge agrees with" in " ".join(more.err.split())
    by_arm = {line["arm"]: line for line in results["points"] if line["fraction"] == 1}
    metrics = {arm: line["by_repeat"]["mAP (trapezoid, all queries)"] for arm, line in by_arm.items()}
    for arm in ("mixup", "structures"):
        assert metrics[arm] != metrics["generated"]
    assert not list(out.glob("*/*/seed*-structures/*.pt")), "no model of its own"
    again = dgaug(*asked, "--arms", "real,falling-ratio", "--json")
    assert json.loads(again.out)["protocol"]["chosen"] == results["protocol"]["chosen"], "as long as the others"
    for trial in (out / "1/chosen").glob("*generated*"):
        shutil.rmtree(trial)
    assert "was chosen without 'generated'; choose another --out" in dgaug(*asked, "--arms", "real,generated").error()
    assert "generated" in by_arm["structures"]["minus"]


def test_an_outside_generator_is_named_in_every_table(
    tiny_run: Run, config: Path, dgaug: RunCommand, tmp_path: Path
) -> None:
    ended = dgaug(
        "study", "--config", config, *FRACTIONS, "--arms", "real,generated", "--generator", tiny_run.folder,
        "--axis", "per-identity", "--steps", "1", "--also", tiny_run.data_root(), "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "from outside: tiny, which saw other images" in " ".join(ended.out.split())
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert table["generator"].str.startswith("from outside: tiny").all()
    results = read_json(tmp_path / "out" / "results.json")
    assert all("also" in line for line in results["points"])
    assert results["protocol"]["chosen_on"] == "nothing: one length was given"


def test_a_dry_run_counts_and_leaves_nothing(config: Path, dgaug: RunCommand, tmp_path: Path) -> None:
    ended = dgaug("study", "--config", config, *FRACTIONS, "--dry-run", "--json", "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    estimate = json.loads(ended.out)
    assert (estimate["generators"], estimate["trials"], estimate["models"]) == (6, 8, 30)
    assert estimate["steps"] == 4 * 3 + 30 * 2
    assert estimate["seconds"] > 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (("--repeats", "2"), "--repeats 2: an interval needs at least 3 repeats"),
        (("--fractions", "0.1,1"), "which leaves some of the 6 identities without an image; the smallest fraction is"),
        (("--fractions", "0.1,1", "--axis", "identities"), "--fractions 0.1 leaves 1 of 6 training identities"),
        (("--fractions", "0.1,1", "--axis", "per-identity"), "leaves an identity of 4 in all without an image"),
        (
            ("--fractions", "0.5,1", "--axis", "identities"),
            "has 3 training identities, at least 4 are needed to choose",
        ),
        (("--pairs", "random:145"), "--pairs at fraction 0.5, repeat 0: expected at most 144 pairs"),
        (("--pairs", "many"), "expected pairs to be all, cross-identity"),
        (("--seed", "2147483646"), "--seed 2147483646: with 5 repeats it may be 2147483643 at most"),
        (("--set", "data.identities_fraction=0.2"), "leave one training identity, two are needed"),
        (("--fractions", "1"), "--fractions 1: a curve needs at least two different fractions"),
        (("--fractions", "0.5,2"), "--fractions 0.5,2: expected numbers above 0 and up to 1"),
        (("--fractions", "nan,1"), "--fractions nan,1: expected numbers above 0 and up to 1"),
        (("--axis", "cameras"), "unknown axis 'cameras'; known are images, identities, per-identity"),
        (("--arms", "real"), "--arms real: what images are worth"),
        (("--model", "vit"), "unknown model 'vit'; known are dgnet, baseline, pcb, bot"),
        (("--ray-address", "10.0.0.1:6379"), "--ray-address needs --engine ray"),
        (("--arms", "real,structures"), "tests the models of 'generated'; add it"),
        (("--set", "reid.identity_mixup=1"), "is what the arm 'mixup' has; add it to --arms"),
        (("--steps", "0"), "--steps 0: expected whole numbers"),
        (("--generator", "gone"), "no such run folder: gone"),
        (("--set", "data.images_fraction=0.5"), "data.images_fraction is what --fractions sets on the axis images"),
        (("--set", "toy.cameras=1"), "toy.cameras = 1: no query would have a gallery image"),
        (("--set", "teacher.checkpoints=[a.pt]"), "the teachers of a study see its fractions alone"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(
    config: Path, dgaug: RunCommand, tmp_path: Path, wrong: tuple[str, ...], expected: str
) -> None:
    asked = ["study", "--config", config, "--fractions", "0.5,1", "--out", tmp_path / "out", *wrong]
    assert expected in dgaug(*asked).error()
    assert not list((tmp_path / "out").glob("*/*/*/*.pt"))


def test_real_images_have_no_true_images(tiny_run: Run, config: Path, dgaug: RunCommand, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.data_root(), tmp_path / "people")
    (tmp_path / "people" / "toy.json").unlink()
    asked = ("study", "--data", tmp_path / "people", "--config", config, "--out", tmp_path / "out")
    assert "needs the embedded data" in dgaug(*asked, "--arms", "real,true").error()
    assert not (tmp_path / "out").exists()


def test_the_smallest_fraction_that_is_named_is_accepted() -> None:
    settings, each = load_settings("toy"), "per-identity"
    for axis, counts in (("images", [7, 6, 5]), ("identities", [3] * 7), (each, [7, 3]), (each, [1, 2])):
        with pytest.raises(DgaugError) as refused:
            require_fractions([0.01, 1], axis, settings, counts)
        smallest = str(refused.value).partition("the smallest fraction is ")[2].partition(",")[0]
        require_fractions(fractions_of(f"{smallest},1"), axis, settings, counts)
