"""What is told of query and gallery before anything is trained: no match, leaks, unknown cameras."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import RunCommand, tiny_settings, write_config

from dgaug.data.prepare import read_data
from dgaug.data.records import IdentityData
from dgaug.errors import DgaugError
from dgaug.models.architectures import ARCHITECTURES
from dgaug.models.checkpoints import load_reid, reid_content, save
from dgaug.models.reid import ReidNetwork
from dgaug.scores.retrieval.held_out import held_out, require_cameras, require_evaluation, trained_identities
from dgaug.settings import DataSettings
from dgaug.store.policies import EXTRA_CLASS

SPLITS = ("train", "query", "gallery")
Row = tuple[str, str, int | None, str, int]
"""Name, identity, camera, split, and the number that its pixels are drawn from."""
DISTINCT: list[Row] = [
    (f"{split}{who}{view}.png", who, camera, split, number * 10 + view)
    for number, (split, who, camera) in enumerate(
        [
            ("train", "a", 1),
            ("train", "b", 2),
            ("query", "c", 1),
            ("gallery", "c", 2),
            ("query", "d", 2),
            ("gallery", "d", 1),
        ]
    )
    for view in range(2)
]


def written(root: Path, rows: Iterable[Row]) -> Path:
    """A manifest with its images."""
    root.mkdir()
    with (root / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "identity", "camera", "split"])
        for name, identity, camera, split, number in rows:
            pixels = np.random.default_rng(number).integers(0, 256, (64, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name)
            table.writerow([name, identity, "" if camera is None else camera, split])
    return root


def data_of(root: Path, rows: Iterable[Row]) -> IdentityData:
    return read_data(written(root, rows), DataSettings(), splits=SPLITS)


def changed(**fields: object) -> list[Row]:
    """The distinct rows, in query and gallery with other fields."""
    place = {"identity": 1, "camera": 2}
    rows = []
    for row in DISTINCT:
        values = list(row)
        for name, value in fields.items():
            if row[3] != "train":
                values[place[name]] = value
        rows.append(tuple(values))
    return rows


def test_a_test_that_is_one_is_described_without_leaks(tmp_path: Path) -> None:
    messages = held_out(data_of(tmp_path / "data", DISTINCT), {"a", "b"})
    assert messages.described() == {
        "queries": 4,
        "gallery": 4,
        "cameras": "known",
        "without_camera": [0, 0],
        "query_files_in_gallery": 0,
        "identities": 2,
        "trained_identities": 0,
        "trained_files": 0,
    }


def test_identities_and_files_that_were_trained_on_are_counted(tmp_path: Path) -> None:
    leaks = [
        ("query.png", "a", 1, "query", 0),
        ("gallery.png", "a", 2, "gallery", 777),
        ("copy.png", "c", 2, "gallery", 21),
    ]
    rows = [*DISTINCT, *leaks]  # pixels 0 are a training image's, 21 those of a query
    data = data_of(tmp_path / "data", rows)
    messages = held_out(data, {"a", "b"})
    assert (messages.trained_identities, messages.trained_files, messages.query_files_in_gallery) == (1, 1, 1)
    assert held_out(data, None).trained_identities is held_out(data, None).trained_files is None
    unread = read_data(tmp_path / "data", DataSettings(), splits=("query", "gallery"))
    assert held_out(unread, {"a", "b"}) == messages


@pytest.mark.parametrize(
    ("names", "expected"),
    [(["a", "b"], {"a", "b"}), (["a"], {"a"}), (["a", "b", EXTRA_CLASS], {"a", "b"}), (["a", "z"], None)],
)
def test_a_model_of_other_identities_leaks_nothing(tmp_path: Path, names: list[str], expected: set[str] | None) -> None:
    data = data_of(tmp_path / "data", DISTINCT)
    settings = tiny_settings()
    architecture = ARCHITECTURES["baseline"](settings, len(names))
    network = ReidNetwork(**architecture, weights="none")
    save(tmp_path / "model.pt", reid_content(network, architecture, names, (64, 32)))
    assert trained_identities(load_reid(tmp_path / "model.pt"), data) == expected


ONE_CAMERA = "has a gallery image of its identity from another camera"
REFUSED = [
    (changed(camera=1), ONE_CAMERA),
    (
        [row if row[3] != "query" else (*row[:1], "z", *row[2:]) for row in DISTINCT],
        "query and gallery share no identity",
    ),
    (
        [(*row[:4], row[4] - 10 * (row[3] == "gallery")) for row in DISTINCT if row[0].endswith("0.png")],
        "are the query files themselves",
    ),
    (changed(identity="c"), "show the identity 'c'"),
]


@pytest.mark.parametrize(("rows", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_test_without_a_match_is_refused_from_names_and_files_alone(
    tmp_path: Path, rows: list[Row], message: str
) -> None:
    with pytest.raises(DgaugError, match=message):
        require_evaluation(data_of(tmp_path / "data", rows))


def test_unknown_cameras_rule_no_match_out(tmp_path: Path) -> None:
    data = data_of(tmp_path / "data", changed(camera=None))
    require_evaluation(data)
    assert held_out(data, None).cameras == "unknown"


@pytest.mark.parametrize("command", ["train-reid", "eval-reid", "ablate", "study"])
def test_no_match_is_said_before_anything_is_trained_with_an_option_of_the_command(
    tmp_path: Path, dgaug: RunCommand, command: str
) -> None:
    data, config = written(tmp_path / "data", changed(camera=1)), write_config(tmp_path / "tiny.yaml")
    settings = tiny_settings()
    architecture = ARCHITECTURES["baseline"](settings, 2)
    torch.manual_seed(0)
    network = ReidNetwork(**architecture, weights="none")
    save(tmp_path / "model.pt", reid_content(network, architecture, ["a", "b"], (64, 32)))
    out = tmp_path / "out"
    called = {
        "train-reid": ("train-reid", "--data", data, "--config", config, "--feed", "none", "--out", out),
        "ablate": ("ablate", "--data", data, "--config", config, "--out", out),
        "study": ("study", "--data", data, "--config", config, "--out", out),
        "eval-reid": ("eval-reid", tmp_path / "model.pt", "--data", data),
    }[command]
    output = dgaug(*called).error()
    remedy = ("--cameras", "none") if command == "eval-reid" else ("--set", "data.cameras=none")
    assert ONE_CAMERA in output
    assert output.endswith(f"use {' '.join(remedy)}")
    assert not out.exists()
    if command not in ("ablate", "study"):
        result = dgaug(*called, *remedy, "--json")
        assert result.code == 0, result.err
        protocol = json.loads(result.out)["protocol"]
        assert protocol["held_out"]["cameras"] == "unknown"
        assert "no camera is known of 4 of 4 query images" in result.err


def test_what_leaks_is_said_and_recorded_by_train_reid(tmp_path: Path, dgaug: RunCommand) -> None:
    rows = [*DISTINCT, ("query.png", "a", 1, "query", 0), ("gallery.png", "a", 2, "gallery", 777)]
    data, config = written(tmp_path / "data", rows), write_config(tmp_path / "tiny.yaml")
    command = ("train-reid", "--data", data, "--config", config, "--feed", "none", "--model", "baseline")
    result = dgaug(*command, "--out", tmp_path / "out", "--json")
    assert result.code == 0, result.err
    assert "1 of the 3 test identities are named as identities that were trained on" in result.err
    assert "1 query and gallery files are byte for byte files that were trained on" in result.err
    protocol = json.loads(result.out)["protocol"]
    assert (protocol["held_out"]["trained_identities"], protocol["held_out"]["trained_files"]) == (1, 1)
    assert (protocol["fine_weight"], "prim;" in protocol["evaluation"]) == (None, True)
    model = tmp_path / "out" / "seed0-real-only" / "last.pt"
    evaluated = dgaug("eval-reid", model, "--data", data, "--rerank", "--json")
    assert "1 of the 3 test identities" in evaluated.err
    output = json.loads(evaluated.out)["protocol"]
    assert output["held_out"] == protocol["held_out"]
    assert output["reranking"] == {"k1": 9, "k2": 6, "original": 0.3}


def test_embedded_data_of_one_camera_are_refused_before_they_are_drawn(tmp_path: Path, dgaug: RunCommand) -> None:
    for command in (
        ("ablate", "--out", tmp_path / "out"),
        ("study", "--out", tmp_path / "out"),
        ("demo", "--out", tmp_path / "out"),
    ):
        output = dgaug(*command, "--set", "toy.cameras=1").error()
        assert "--set toy.cameras=2" in output
        assert not (tmp_path / "out").exists()
    require_cameras(tiny_settings(toy={"cameras": 1}, data={"cameras": "none"}))
