"""Features averaged over structures: what they are the mean of, where they are reported, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import RunCommand

from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import denormalise, normalise
from dgaug.models.checkpoints import load_generator, load_reid
from dgaug.progress import silent
from dgaug.runs import Run
from dgaug.scores.retrieval.features import Extraction
from dgaug.scores.retrieval.ranking import evaluate_ranking
from dgaug.scores.retrieval.structure_average import averaged_features, choose_structures

SIZE = (64, 32)


def test_a_feature_is_the_mean_over_the_image_and_its_appearance_on_each_structure(tiny_run: Run) -> None:
    judge, model = load_reid(tiny_run.teacher).network.eval(), load_generator(tiny_run.checkpoint)
    extraction = Extraction(judge, SIZE)
    structures = choose_structures(str(tiny_run.folder), 2, extraction, seed=1)
    path = sorted((tiny_run.data_root() / "query").iterdir())[3]
    (found,) = averaged_features(extraction, [path], structures, title="", progress=silent)
    image = normalise(torch.from_numpy(to_pixels(open_image(path), SIZE))[None])
    seen = [image]
    with torch.no_grad():
        code = model.appearance(image).appearance
        for name in structures.names:
            donor = normalise(torch.from_numpy(to_pixels(open_image(tiny_run.data_root() / name), SIZE))[None])
            seen.append(normalise(denormalise(model.generator(model.generator.structure(donor), code))))
        mean = torch.cat([judge.features(one) for one in seen]).mean(dim=0)
    assert torch.allclose(found, mean / mean.norm(), atol=1e-4)
    assert not torch.allclose(found, judge.features(image)[0].detach(), atol=1e-3)


def test_it_is_reported_apart_and_ranks_the_averaged_features(tiny_run: Run, dgaug: RunCommand, tmp_path: Path) -> None:
    asked = ("eval-reid", tiny_run.teacher, "--data", tiny_run.data_root(), "--json")
    plain = json.loads(dgaug(*asked).out)
    result = json.loads(dgaug(*asked, "--structures", "2", "--run", tiny_run.folder).out)
    assert result["prim"] == plain["prim"]
    assert plain["protocol"]["structure_averaged"] is None
    assert len(result["protocol"]["structure_averaged"]["donors"]) == 2
    extraction = Extraction(load_reid(tiny_run.teacher).network, SIZE)
    structures = choose_structures(str(tiny_run.folder), 2, extraction, seed=0)
    sides = []
    for folder in ("query", "bounding_box_test"):
        paths = sorted((tiny_run.data_root() / folder).iterdir())
        names = [path.name.split("_") for path in paths]
        features = averaged_features(extraction, paths, structures, title="", progress=silent)
        sides += [features, np.array([int(name[0]) for name in names]), np.array([int(name[1][1]) for name in names])]
    expected = evaluate_ranking(*sides)
    averaged = result["structure-averaged"]["prim"]
    for metric in ("sum_valid_queries/mAP", "trapezoid_all_queries/mAP", "sum_valid_queries/R1"):
        assert averaged[metric] == pytest.approx(expected[metric])
    assert averaged != result["prim"]


def test_what_cannot_be_averaged_is_refused(tiny_run: Run, dgaug: RunCommand, tmp_path: Path) -> None:
    asked = ("eval-reid", tiny_run.teacher, "--data", tiny_run.data_root(), "--run", tiny_run.folder, "--structures")
    assert "has 24 training images; ask for fewer" in dgaug(*asked, "100").error()
    assert "no such run folder: gone" in dgaug(*asked, "2", "--run", tmp_path / "gone").error().replace(
        str(tmp_path) + "/", ""
    )
