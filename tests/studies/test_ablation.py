"""`ablate`: its generators, its lines and their twins, and a kill in the middle."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_run import RunCommand, finish_process, signal_at, start_process, write_config

from dgaug.files import read_json
from dgaug.runs import Run
from dgaug.studies.ablation import GENERATORS, LINES, PRIM, PUBLISHED, table
from dgaug.studies.study import HEADLINE, Row

SHORT = {"teacher": {"iterations": 4}, "schedule": {"iterations": 2}, "reid": {"iterations": 2}}


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """An ablation that was killed inside its re-id models and resumed, and what it printed."""
    folder = tmp_path_factory.mktemp("ablation")
    config = write_config(folder / "tiny.yaml", **SHORT)
    asked = ("ablate", "--config", config, "--seeds", "2", "--images-per-identity", "3", "--out", folder / "out")
    killed = signal_at(folder / "out" / "seed0-prim-soft-labels" / "last.pt", signal.SIGKILL, *asked)
    assert killed.code == -signal.SIGKILL
    assert not (folder / "out" / "results.json").exists()
    ended = finish_process(start_process(*asked, "--json"))
    assert ended.code == 0, ended.err
    assert "already complete" in ended.err
    results: dict[str, Any] = json.loads(ended.out)
    return folder / "out", results


def test_each_generator_is_trained_without_what_its_name_says(ablation: tuple[Path, dict[str, Any]]) -> None:
    runs = {name: Run(ablation[0] / "generators" / name.replace(" ", "-")) for name in GENERATORS}
    losses = {name: run.settings().loss for name, run in runs.items()}
    assert [loss.teacher for loss in losses.values()] == [2.0, 0.0, 2.0]
    assert [loss.generated_identity for loss in losses.values()] == [0.5, 0.5, 0.0]
    assert len({run.teacher.read_bytes() for run in runs.values()}) == 1
    assert {run.settings().data.images_per_identity for run in runs.values()} == {3}
    assert len({run.checkpoint.read_bytes() for run in runs.values()}) == 3


def test_every_line_has_all_seeds_and_both_twins(ablation: tuple[Path, dict[str, Any]]) -> None:
    folder, results = ablation
    assert read_json(folder / "results.json") == results
    assert [line["name"] for line in results["table"]] == [line.name for line in LINES]
    for line in results["table"]:
        assert {figure["seeds"] for figure in line["figures"].values()} == {2}
        assert len(line["minus"]) == (0 if line["name"] == "baseline" else 2)
    assert results["protocol"]["data"] == {"training_images": 18, "training_identities": 6}
    assert results["trained_along"].keys() == GENERATORS.keys()
    assert len(pd.read_csv(folder / "table.csv")) == len(LINES) * len(HEADLINE)
    assert len(pd.read_csv(folder / "results.csv")) == 2 * (4 + 3 * 6)
    assert (folder / "table.pdf").read_bytes().startswith(b"%PDF")
    chart = np.asarray(Image.open(folder / "table.png").convert("RGB"))
    assert len(np.unique(chart.reshape(-1, 3), axis=0)) > 20


def test_a_finished_ablation_is_read_back(ablation: tuple[Path, dict[str, Any]], dgaug: RunCommand) -> None:
    folder, results = ablation
    config = folder.parent / "tiny.yaml"
    asked = ("ablate", "--config", config, "--seeds", "2", "--images-per-identity", "3", "--out", folder)
    ended = dgaug(*asked)
    assert ended.code == 0, ended.err
    mean = results["table"][0]["figures"]["rank-1"]["mean"]
    assert f"{100 * mean:.1f} ±" in ended.out
    other = dgaug(*asked, "--set", "reid.gamma=0.5")
    assert "other settings (reid.gamma: 0.1 -> 0.5)" in other.error()


def test_a_line_is_its_feature_minus_that_of_its_twins_seed_by_seed() -> None:
    def row(variant: str, seed: int, **figures: float) -> Row:
        return Row(variant, seed, {name: dict.fromkeys(HEADLINE.values(), value) for name, value in figures.items()})

    variants = {"baseline": 0.1, "baseline, as many real": 0.2, **dict.fromkeys(PRIM.values(), 0.5)}
    heads = {"two heads": 0.3, "two heads, as many real": 0.4, **dict.fromkeys((PUBLISHED, *GENERATORS), 0.6)}
    rows = []
    for seed in (0, 1):
        rows += [row(name, seed, prim=value + seed / 10) for name, value in variants.items()]
        rows += [row(name, seed, prim=0.0, fine=value / 2, both=value) for name, value in heads.items()]
    lines = {line["name"]: line for line in table(rows)}
    assert lines["baseline"]["figures"]["rank-1"]["mean"] == pytest.approx(0.15)
    prim = {twin: figures["rank-1"] for twin, figures in lines["prim"]["minus"].items()}
    assert prim["baseline"]["mean"] == pytest.approx(0.4)
    assert prim["baseline"]["low"] == pytest.approx(0.4)
    assert prim["baseline, as many real"]["mean"] == pytest.approx(0.3)
    assert lines["fine"]["minus"]["two heads"]["rank-1"]["mean"] == pytest.approx(0.15)
    assert lines["prim + fine"]["minus"]["two heads"]["rank-1"]["mean"] == pytest.approx(0.3)
    assert lines["full"]["figures"] == lines["prim + fine"]["figures"]


def test_data_that_cannot_be_evaluated_are_refused_before_anything_is_trained(
    dgaug: RunCommand, tmp_path: Path
) -> None:
    for number in range(4):
        path = tmp_path / "people" / "train" / str(number % 2) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 64), (number, 0, 0)).save(path)
    config = write_config(tmp_path / "tiny.yaml")
    asked = ("ablate", "--data", tmp_path / "people", "--config", config, "--out", tmp_path / "out")
    assert "cannot be evaluated" in dgaug(*asked).error()
    assert "expected pairs to be all" in dgaug(*asked, "--pairs", "many").error()
    assert not (tmp_path / "out").exists()
