"""Several teachers as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dgaug.models import checkpoints
from dgaug.models.reid import Ensemble, ReidNetwork, soft_labels

CLASSES, SIZE = 5, (64, 32)
NAMES = [f"p{index}" for index in range(CLASSES)]


def architecture(heads: int) -> dict[str, Any]:
    pool = "avg" if heads == 1 else "max"
    return {"backbone": "small", "classes": CLASSES, "dropouts": (0.5,) * heads, "pool": pool, "embedding": 16}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three teachers: two of one head, one of two."""
    paths = []
    for seed, heads in enumerate((1, 2, 1)):
        torch.manual_seed(seed)
        network = ReidNetwork(**architecture(heads))
        for head in network.heads:
            torch.nn.init.normal_(head.classify.weight)
        path = tmp_path / f"{seed}.pt"
        checkpoints.save(path, checkpoints.reid_content(network, architecture(heads), NAMES, SIZE))
        paths.append(path)
    return paths


def test_several_teachers_give_the_mean_of_their_soft_labels(files: list[Path], tmp_path: Path) -> None:
    images = torch.randn(3, 3, *SIZE)
    checkpoints.copy_teachers(files, tmp_path / "all.pt")
    model = checkpoints.load_reid(tmp_path / "all.pt")
    mean = torch.stack([soft_labels(checkpoints.load_reid(file).network, images) for file in files]).mean(dim=0)
    assert torch.allclose(soft_labels(model.network, images), mean, atol=1e-6)
    assert (model.class_names, model.image_size) == (NAMES, SIZE)
    model.require(NAMES, SIZE, source="test")


def test_features_of_several_stand_side_by_side(files: list[Path], tmp_path: Path) -> None:
    checkpoints.copy_teachers(files[:2], tmp_path / "two.pt")
    network = checkpoints.load_reid(tmp_path / "two.pt").network
    features = network.features(torch.randn(3, 3, *SIZE))
    assert features.shape == (3, network.feature_length) == (3, 16 + 32)


def test_an_ensemble_can_be_a_member_of_another(files: list[Path], tmp_path: Path) -> None:
    checkpoints.copy_teachers(files[:2], tmp_path / "two.pt")
    checkpoints.copy_teachers([tmp_path / "two.pt", files[2]], tmp_path / "three.pt")
    nested, flat = tmp_path / "three.pt", tmp_path / "flat.pt"
    checkpoints.copy_teachers(files, flat)
    mine, theirs = (checkpoints.load_reid(path).network for path in (nested, flat))
    assert isinstance(mine, Ensemble)
    assert len(mine.members) == 3
    images = torch.randn(2, 3, *SIZE)
    assert torch.equal(soft_labels(mine, images), soft_labels(theirs, images))


def test_one_teacher_is_copied_byte_for_byte(files: list[Path], tmp_path: Path) -> None:
    checkpoints.copy_teachers(files[:1], tmp_path / "one.pt")
    assert (tmp_path / "one.pt").read_bytes() == files[0].read_bytes()
