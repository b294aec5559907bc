"""A data set and the store of all pairs of its training images, for the tests of merged exports."""

from __future__ import annotations

from pathlib import Path

import pytest
from merged_data import store_of, write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("merge") / "data")


@pytest.fixture(scope="module")
def store(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store_of(data, tmp_path_factory.mktemp("stores") / "store")
