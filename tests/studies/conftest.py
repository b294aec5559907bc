"""A judge of the tiny run's images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dgaug.data.prepare import read_data
from dgaug.distributed import Processes
from dgaug.runs import Run
from dgaug.training.batches import LabelledImages
from dgaug.training.reid_loop import train_reid_network
from dgaug.training.train import teacher_job


@pytest.fixture(scope="session")
def images(tiny_run: Run) -> LabelledImages:
    data = tiny_run.settings().data
    return LabelledImages.of(read_data(tiny_run.data_root(), data), data.image_size)


@pytest.fixture(scope="session")
def judge(tiny_run: Run, images: LabelledImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was trained on the same images as the teacher, from another seed."""
    path = tmp_path_factory.mktemp("judge") / "last.pt"
    settings = tiny_run.settings().model_copy(update={"seed": 9})
    here = Processes(torch.device("cpu"))
    train_reid_network(teacher_job(settings, images), path, processes=here, save_every=100)
    return path
