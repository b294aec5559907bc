"""The weight of the fine half is chosen among training images and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dgaug.data.prepare import read_data
from dgaug.data.records import Record, Role
from dgaug.errors import DgaugError
from dgaug.models.reid import ReidNetwork
from dgaug.runs import Run
from dgaug.scores.retrieval.evaluate import evaluate_network
from dgaug.scores.retrieval.features import Extraction
from dgaug.scores.retrieval.fine_weight import CANDIDATES, choose_fine_weight, validation_split
from dgaug.settings import DataSettings

RECORDS = [Record(f"{i}_{c}_{n}.jpg", str(i), c) for i in range(5) for c in (1, 2) for n in range(3)]


class OneHalfTells(ReidNetwork):
    """A two-head network whose prim half is noise, and whose fine half is the colour of the image."""

    def features(self, images: torch.Tensor, *, flip: bool = True, unit: bool = True) -> torch.Tensor:
        noise = torch.randn(len(images), 48, generator=torch.Generator().manual_seed(len(images)))
        colour = torch.nn.functional.adaptive_avg_pool2d(images, (8, 2)).flatten(1)
        return torch.cat([torch.nn.functional.normalize(part, dim=1) for part in (noise, colour)], dim=1)


def test_one_image_of_each_identity_and_camera_asks_for_the_others() -> None:
    query, gallery = validation_split([*RECORDS, Record("x.jpg", "9", 1, Role.JUNK)], 3, seed=0)
    assert len(query) == len({(record.identity, record.camera) for record in query}) == 6
    assert len(gallery) == 12
    assert not set(query) & set(gallery)
    assert validation_split(RECORDS, 3, seed=0)[0] != validation_split(RECORDS, 3, seed=1)[0]


def test_a_half_that_tells_more_gets_the_largest_weight_and_the_test_has_no_say(tiny_run: Run) -> None:
    data = read_data(tiny_run.data_root(), DataSettings(), splits=("train", "query", "gallery"))
    extraction = Extraction(OneHalfTells("small", 6, dropouts=(0, 0), pool="max", embedding=48), (64, 32))
    chosen = choose_fine_weight(extraction, data)
    assert chosen.chosen_by is not None
    assert list(chosen.chosen_by) == list(CANDIDATES)
    assert chosen.weight >= 0.5
    assert chosen.chosen_by[chosen.weight] == max(chosen.chosen_by.values()) > chosen.chosen_by[0.0]
    only_training = replace(data, splits={"train": data.splits["train"]})
    assert choose_fine_weight(extraction, only_training) == chosen


def test_the_figures_of_a_candidate_are_those_of_evaluation(tiny_run: Run) -> None:
    data = read_data(tiny_run.data_root(), DataSettings())
    network = ReidNetwork("small", 6, dropouts=(0, 0), pool="max", embedding=8)
    chosen = choose_fine_weight(Extraction(network, (64, 32)), data, seed=3)
    query, gallery = validation_split(data.splits["train"], 100, seed=3)
    as_test = replace(data, splits={"query": query, "gallery": gallery})
    table = evaluate_network(network, as_test, image_size=(64, 32), fine_weight=0.8)["both"]
    assert chosen.chosen_by is not None
    assert chosen.chosen_by[0.8] == table["sum_valid_queries/mAP"]
    assert chosen.queries == table["queries"]


def test_training_images_that_cannot_be_asked_for_are_refused(tiny_run: Run) -> None:
    data = read_data(tiny_run.data_root(), DataSettings(images_per_identity=1))
    network = ReidNetwork("small", 6, dropouts=(0, 0), pool="max", embedding=8)
    with pytest.raises(DgaugError, match="no training identity with several images"):
        choose_fine_weight(Extraction(network, (64, 32)), data)
    same_camera = {
        "train": [replace(record, camera=1) for record in read_data(data.root, DataSettings()).splits["train"]]
    }
    with pytest.raises(DgaugError, match=r"on the training split: ranking: none of the 6 queries .* give a number"):
        choose_fine_weight(Extraction(network, (64, 32)), replace(data, splits=same_camera))
