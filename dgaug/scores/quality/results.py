"""What `score_fid` leaves behind: scores as JSON and CSV, and the images that show what they mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from dgaug.data.toy import is_toy
from dgaug.figures.charts import clouds, save_figure
from dgaug.figures.sheets import contact_sheet, extreme_rows, extremes_sheet, save_sheet
from dgaug.files import read_json, whole, write_sealed_json
from dgaug.outputs import flat, require_same_settings
from dgaug.scores.quality.donor_metrics import SAMPLE, Donors
from dgaug.scores.quality.image_sets import ImageSet, Rows, resized
from dgaug.scores.quality.oracle import clothed_body_errors, true_images

SCORES = "scores.json"
FOLLOWS = ("features_kept", "kernel_subset", "looked_at_one_by_one", "judged", "block")
"""What a protocol records that follows from the rest of it: how much was used of what there was."""
SHEET_COLUMNS = 12
CLOUD = 2_000
"""Points of each cloud."""


def finished_result(folder: Path, protocol: dict[str, Any]) -> dict[str, Any] | None:
    """The result in a folder, if it was made with this protocol; None where there is none.

    Raises:
        DgaugError: there is a result with another protocol; names what differs.
    """
    path = folder / SCORES
    if not path.is_file():
        return None
    result: dict[str, Any] = read_json(path)
    require_same_settings(path, _decisive(result.get("protocol")), _decisive(protocol))
    return result


def _decisive(protocol: Any) -> dict[str, Any]:
    """A protocol without what follows from the rest: earlier versions recorded the limits in its place."""
    return {name: value for name, value in flat(protocol).items() if name.partition("/")[0] not in FOLLOWS}


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write `scores.csv`, then `scores.json`, which says that everything is there."""
    rows = [
        {"protocol": result["protocol"]["name"], "metric": name, "value": value}
        for name, value in flat(result["scores"]).items()
    ]
    with whole(folder / "scores.csv") as aside:
        pd.DataFrame(rows).to_csv(aside, index=False)
    write_sealed_json(folder / SCORES, result)


def plot_pairs(donors: Donors, path: Path) -> None:
    """A sheet of generated images under their donors and, where there are any, their true images."""
    sample = donors.images.at(donors.images.choice(SHEET_COLUMNS, donors.seed))
    sheet = {
        "appearance donors": donors.originals(sample.appearance),
        "structure donors": donors.originals(sample.structure),
        "generated": sample.pixels,
    }
    if is_toy(donors.root):
        sheet["true image"] = true_images(sample, donors.store.sources, donors.root)
    save_sheet(contact_sheet(list(map(list, sheet.values())), list(sheet)), path)


def plot_extremes(
    donors: Donors, rows: Rows, scores: NDArray[np.float64], path: Path, *, what: str, low_is_good: bool = False
) -> None:
    """The worst and the best of some rows of a store by their scores [M]."""
    halves = extreme_rows(-scores if low_is_good else scores)
    sample = donors.images.at(rows[np.concatenate(halves)])
    shape = 2, len(halves[0]), *sample.pixels.shape[1:]
    sheet = extremes_sheet(
        donors.originals(sample.appearance).reshape(shape),
        donors.originals(sample.structure).reshape(shape),
        sample.pixels.reshape(shape),
        [list(map(float, scores[half])) for half in halves],
        what=what,
    )
    save_sheet(sheet, path)


def plot_unjudged_extremes(donors: Donors, path: Path, *, wants: Callable[[str], bool]) -> None:
    """The worst and the best of a sample by a wanted score that needs no judge; nothing where there is none.

    On embedded data the error against the true image, else how sure the teacher is of the appearance donor.
    """
    rows = donors.images.choice(SAMPLE, donors.seed, among=donors.crossed)
    if len(rows) < 2:
        return
    if wants("oracle") and is_toy(donors.root):
        errors = clothed_body_errors(donors.images.at(rows), donors.store.sources, donors.root)
        what = "error on the clothed body (grey levels)"
        plot_extremes(donors, rows, errors, path, what=what, low_is_good=True)
    elif wants("teacher") and donors.store.has_labels:
        expected = donors.store.sources.identity[donors.pairs[rows, 0]]
        sure = np.array([donors.store.dense_label(int(row))[who] for row, who in zip(rows, expected, strict=True)])
        plot_extremes(donors, rows, sure, path, what="the teacher's probability of the appearance donor")


def plot_duplicates(generated: ImageSet, rows: Rows, real: ImageSet, neighbours: Rows, path: Path) -> None:
    """Generated images that lie nearest to a real one, above it."""
    above = generated.images(rows)
    below = resized(real.images(neighbours), above[0].shape[:2])
    save_sheet(contact_sheet([above, below], ["generated, nearest to a real one first", "the nearest real one"]), path)


def plot_clouds(generated: Tensor, real: Tensor, path: Path, encoder: str) -> None:
    """Both clouds of features, at most `CLOUD` points each."""
    if len(real) >= 3:
        save_figure(clouds(real[:CLOUD].numpy(), generated[:CLOUD].numpy(), encoder=encoder), path)
