"""What can be scored and compared with: stores, folders, manifests, data sets, statistics."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dgaug.data.layouts import open_data
from dgaug.data.manifest import pack
from dgaug.errors import DgaugError
from dgaug.progress import silent
from dgaug.runs import Run
from dgaug.scores.quality.feature_statistics import Given
from dgaug.scores.quality.image_sets import ImageSet
from dgaug.scores.quality.inputs import Subject, find_subject


def subject(target: Path | None, real: Path | None, run: str | Path = "latest") -> Subject:
    return find_subject(target, run=run, real=real, teacher=None, out=None, progress=silent)


def names(side: object) -> list[str]:
    assert isinstance(side, ImageSet)
    return sorted(path.name for path in side.files)


@pytest.fixture
def data(tiny_run: Run, tmp_path: Path) -> Path:
    """The run's training images, with a manifest beside them."""
    shutil.copytree(tiny_run.data_root(), tmp_path / "data")
    pack(open_data(tmp_path / "data"), tmp_path / "data" / "manifest.csv")
    return tmp_path / "data"


def test_a_run_gives_everything(tiny_run: Run) -> None:
    result = subject(None, None, tiny_run.folder)
    assert isinstance(result.generated, ImageSet)
    assert (result.generated.kind, len(result.generated)) == ("store", 576)
    assert len(names(result.real)) == 24
    assert (result.donors, result.folder) == (tiny_run.data_root(), tiny_run.scores)
    assert result.teacher is not None


def test_a_manifest_means_its_training_images_on_either_side(tiny_run: Run, data: Path) -> None:
    result = subject(data / "manifest.csv", tiny_run.data_root())
    assert names(result.generated) == names(result.real)
    again = subject(data / "query", data / "manifest.csv")
    assert names(again.real) == names(result.real)
    assert len(names(again.generated)) == 18


def test_a_folder_without_splits_means_every_image_below_it(tiny_run: Run, tmp_path: Path) -> None:
    train = tiny_run.data_root() / "bounding_box_train"
    shutil.copytree(train, tmp_path / "flat")
    shutil.copytree(train, tmp_path / "nested" / "a" / "b")
    shutil.copytree(train, tmp_path / "people" / "0001")
    for folder in ("flat", "nested", "people"):
        result = subject(tiny_run.data_root() / "query", tmp_path / folder).real
        assert isinstance(result, ImageSet)
        assert (result.kind, len(result)) == ("folder", 24)


def test_stores_and_statistics_can_be_compared_with(tiny_run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "real.npz", mu=np.zeros(3), sigma=np.eye(3))
    folder = tiny_run.data_root() / "query"
    store = subject(folder, tiny_run.store).real
    assert isinstance(store, ImageSet)
    assert store.kind == "store"
    assert isinstance(subject(folder, tmp_path / "real.npz").real, Given)
    assert isinstance(subject(tmp_path / "real.npz", folder).generated, Given)


def test_nothing_there_is_said_so(tiny_run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder = tiny_run.data_root() / "query"
    for real, message in (("gone", "no such folder"), ("empty", "no image"), ("gone.npz", "no such statistics")):
        with pytest.raises(DgaugError, match=message):
            subject(folder, tmp_path / real)
