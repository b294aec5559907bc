"""The image of some queries' rankings, from the worst ranked to the best."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dgaug.data.images import open_image, to_pixels
from dgaug.data.records import IdentityData, Record
from dgaug.figures.ranked_sheet import RankedRow, ranked_sheet
from dgaug.figures.sheets import Pixels, save_sheet
from dgaug.scores.retrieval.protocols import SINGLE_QUERY, Evaluation

LISTS, LENGTH = 8, 10


def plot_ranked_lists(evaluation: Evaluation, data: IdentityData, path: Path, *, size: tuple[int, int]) -> None:
    """Write `LISTS` queries with the first `LENGTH` images of each ranking, resized to (H, W), as a PNG file.

    The queries lie at even distances from the worst average precision to the best, so the sheet shows the model as it
    is; each caption says its query's average precision (mean of precisions).
    """

    def pixels(record: Record) -> Pixels:
        return to_pixels(open_image(data.image_path(record)), size)

    precision = evaluation.per_query[SINGLE_QUERY][evaluation.feature].average_precision
    rows = []
    for query in spread_of_queries(evaluation):
        record = evaluation.query.records[query]
        ranked = evaluation.ranked(query, count=LENGTH)
        rows.append(
            RankedRow(
                f"{record.path}   AP {precision[query]:.2f}",
                pixels(record),
                [pixels(image.record) for image in ranked],
                [image.right for image in ranked],
            )
        )
    save_sheet(ranked_sheet(rows), path)


def spread_of_queries(evaluation: Evaluation, count: int = LISTS) -> list[int]:
    """Queries with a match, at even distances in the order of their average precision, lowest first."""
    scores = evaluation.per_query[SINGLE_QUERY][evaluation.feature]
    ascending = scores.valid[np.argsort(scores.average_precision[scores.valid], kind="stable")]
    places = np.linspace(0, len(ascending) - 1, min(count, len(ascending))).round().astype(np.int64)
    return [int(query) for query in ascending[places]]
