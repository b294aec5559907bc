"""Some queries with the first images of their rankings, from the worst ranked to the best, and the sheet of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dgaug.data.images import open_image, to_pixels
from dgaug.data.records import IdentityData, Record
from dgaug.figures.sheets import Pixels, RankedRow, ranked_sheet, save_sheet
from dgaug.scores.retrieval.protocols import SINGLE_QUERY, Evaluation

LISTS, LENGTH = 8, 10


@dataclass(frozen=True)
class ShownImage:
    """An image of a ranking, uint8 [H, W, 3]; `right`: it shows the query's identity."""

    record: Record
    pixels: Pixels
    right: bool = True


@dataclass(frozen=True)
class RankedList:
    """A query, its average precision (mean of precisions) and the first images of its ranking."""

    query: ShownImage
    average_precision: float
    images: list[ShownImage]


def lists_to_show(evaluation: Evaluation, data: IdentityData, size: tuple[int, int]) -> list[RankedList]:
    """`LISTS` queries with the first `LENGTH` images of each ranking, resized to (H, W).

    The queries have a match and lie at even distances from the worst average precision to the best, so the lists show
    the model as it is.
    """

    def shown(record: Record, *, right: bool = True) -> ShownImage:
        return ShownImage(record, to_pixels(open_image(data.image_path(record)), size), right)

    scores = evaluation.per_query[SINGLE_QUERY][evaluation.feature]
    ascending = scores.valid[np.argsort(scores.average_precision[scores.valid], kind="stable")]
    places = np.linspace(0, len(ascending) - 1, min(LISTS, len(ascending))).round().astype(np.int64)
    return [
        RankedList(
            shown(evaluation.query.records[query]),
            float(scores.average_precision[query]),
            [shown(one.record, right=one.right) for one in evaluation.ranked(query, count=LENGTH)],
        )
        for query in ascending[places].tolist()
    ]


def plot_ranked_lists(lists: list[RankedList], path: Path) -> None:
    """Write ranked lists as an image file; each caption says its query's average precision."""
    rows = [
        RankedRow(
            f"{one.query.record.path}   AP {one.average_precision:.2f}",
            one.query.pixels,
            [image.pixels for image in one.images],
            [image.right for image in one.images],
        )
        for one in lists
    ]
    save_sheet(ranked_sheet(rows), path)
