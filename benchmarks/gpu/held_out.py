"""A data set with query and gallery from a training split alone: some identities are held out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from dgaug.data.layouts import open_data
from dgaug.data.records import class_names

SHARE = 0.2


def hold_out(market: Path, out: Path, *, share: float = SHARE) -> Path:
    """Market-1501's folders, the last identities of the training split as query and gallery.

    A query is the first image of an identity in each camera. Results on it are not those of the real test split.
    """
    content = open_data(market)
    records = content.splits["train"]
    names = class_names(records)
    held = set(names[round((1 - share) * len(names)) :])
    asked: set[tuple[str, int]] = set()
    shutil.rmtree(out, ignore_errors=True)
    for record in records:
        folder = "bounding_box_train"
        if record.identity in held:
            view = (str(record.identity), record.camera)
            folder = "bounding_box_test" if view in asked else "query"
            asked.add(view)
        source = content.image_path(record)
        place = out / folder / source.name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, place)
    return out
