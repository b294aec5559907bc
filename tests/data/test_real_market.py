from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from dgaug.data.check import check_data
from dgaug.data.layouts import open_data

REAL = os.environ.get("DGAUG_REAL_DATA")


def unread(*_: object, **__: object) -> None:
    raise AssertionError("names alone say who is shown; no image is opened")


@pytest.mark.real
@pytest.mark.skipif(not REAL, reason="DGAUG_REAL_DATA names no folder with market1501/*.tar")
def test_market_1501_has_the_published_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bounding_box_train", "query", "bounding_box_test"):
        with tarfile.open(Path(REAL or "") / "market1501" / f"{name}.tar") as archive:
            archive.extractall(tmp_path, filter="data")
    with monkeypatch.context() as patch:
        patch.setattr("PIL.Image.open", unread)
        data = open_data(tmp_path)
    none = {"junk": 0, "distractors": 0, "damaged": 0}
    assert check_data(data).to_json() == {
        "layout": "market1501",
        "splits": {
            "train": {"images": 12936, "identities": 751, "cameras": 6, **none},
            "query": {"images": 3368, "identities": 750, "cameras": 6, **none},
            "gallery": {
                "images": 19732,
                "identities": 750,
                "cameras": 6,
                "junk": 3819,
                "distractors": 2798,
                "damaged": 0,
            },
        },
        "problems": [],
    }
