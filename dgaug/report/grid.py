"""The N x N grid of the report: every cell with its donors, labels and scores; sliders between two donors' codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.records import UNKNOWN_CAMERA, IdentityData, Record
from dgaug.data.toy import ToyWorld, is_toy
from dgaug.errors import DgaugError
from dgaug.figures.sheets import Pixels
from dgaug.models.checkpoints import TrainedGenerator, load_reid
from dgaug.report.images import image_uri
from dgaug.scores.quality.ssim import ssim
from dgaug.scores.quality.structure_consistency import grey_ssim
from dgaug.store.virtual import label_images
from dgaug.synthesis.draw import WHAT, generate_all, generate_between, pixels_of

LARGEST = 12
"""Identities: the page keeps its size."""
LABELS = 3
MICRO_BATCH = 32
SLIDER_PAIRS, SLIDER_STEPS = 2, 11


@dataclass(frozen=True)
class Donor:
    """An image of the data: its path there, its identity, its camera (None: unknown), and itself."""

    name: str
    identity: str
    camera: int | None
    image: str


@dataclass(frozen=True)
class Cell:
    """A generated image.

    Attributes:
        image, true: as data URIs; `true` is empty where the true image is not known.
        labels: identity and probability of the teacher's first classes, most probable first.
        scores: name and value of what can be told from this image alone.
    """

    image: str
    true: str
    labels: list[tuple[str, float]]
    scores: list[tuple[str, str]]


@dataclass(frozen=True)
class Grid:
    """Donors of rows and columns alike, cells [N][N]; `label_note`: why there are no labels (empty: there are)."""

    donors: list[Donor]
    cells: list[list[Cell]]
    iteration: int
    label_note: str


@dataclass(frozen=True, eq=False)
class GridImages:
    """Records [N] of the donors, their images uint8 [N, H, W, 3] and the generated ones [N, N, H, W, 3]."""

    records: Sequence[Record]
    donors: Pixels
    cells: Pixels


def generate_grid_images(model: TrainedGenerator, data: IdentityData, records: Sequence[Record]) -> GridImages:
    """Every appearance on every structure of some records; DgaugError where an image cannot be read."""
    donors = pixels_of([data.image_path(record) for record in records], model)
    return GridImages(records, donors, generate_all(model, donors, donors))


def described_grid(images: GridImages, data: IdentityData, *, teacher: Path, iteration: int) -> Grid:
    """The grid with the labels of a re-id checkpoint, where there is one, and the scores of each cell."""
    count = len(images.records)
    flat = images.cells.reshape(-1, *images.cells.shape[2:])
    pairs = list(product(range(count), range(count)))
    true = _true_images(images, data, pairs)
    note, labels = _labels(teacher, flat, images, pairs)
    scores = _scores(flat, images, pairs, true)
    cells = [
        Cell(image_uri(flat[k]), "" if true is None else image_uri(true[k]), labels[k][0], labels[k][1] + scores[k])
        for k in range(len(pairs))
    ]
    donors = [_donor(record, pixels) for record, pixels in zip(images.records, images.donors, strict=True)]
    return Grid(donors, [cells[row * count : (row + 1) * count] for row in range(count)], iteration, note)


@dataclass(frozen=True)
class Slider:
    """The way from one donor's code to another's.

    Attributes:
        what: the code that changes, `appearance` or `structure`.
        first, second: the donors' paths.
        frames: as data URIs, [2][STEPS]; row r keeps the other code of donor r.
    """

    what: str
    first: str
    second: str
    frames: list[list[str]]


def sliders(model: TrainedGenerator, records: Sequence[Record], donors: Pixels) -> list[Slider]:
    """Both sliders of the first pairs of donors: records [N], images uint8 [N, H, W, 3]."""
    weights = [step / (SLIDER_STEPS - 1) for step in range(SLIDER_STEPS)]
    labels = []
    for start in range(0, min(2 * SLIDER_PAIRS, len(records) - 1), 2):
        first, second = records[start : start + 2]
        for what in WHAT:
            drawn = generate_between(model, donors[start : start + 2], weights, what=what)
            frames = [[image_uri(pixels) for pixels in row] for row in drawn]
            labels.append(Slider(what, first.path, second.path, frames))
    return labels


def _donor(record: Record, pixels: Pixels) -> Donor:
    camera = None if record.camera == UNKNOWN_CAMERA else record.camera
    return Donor(record.path, record.identity, camera, image_uri(pixels))


_Labels = list[tuple[list[tuple[str, float]], list[tuple[str, str]]]]


def _labels(teacher: Path, flat: Pixels, images: GridImages, pairs: list[tuple[int, int]]) -> tuple[str, _Labels]:
    """Of each cell the first classes, and the probability of each donor's identity; or a note why there are none."""
    try:
        model = load_reid(teacher)
        names = model.class_names
        if names is None:
            raise DgaugError("the teacher does not know the names of its identities")
        if model.image_size != flat.shape[1:3]:
            raise DgaugError(f"the teacher sees images of another size: {model.image_size}")
    except DgaugError as error:
        return f"No labels: {error}", [([], []) for _ in pairs]
    probability = label_images(model.network, torch.from_numpy(flat), micro_batch=MICRO_BATCH).numpy()
    labels: _Labels = []
    for k, (row, column) in enumerate(pairs):
        first = np.argsort(-probability[k], kind="stable")[:LABELS]
        judged = [
            (f"teacher: {what} donor's identity", f"{100 * probability[k, names.index(identity)]:.1f} %")
            for what, identity in zip(
                ("appearance", "structure"), (images.records[p].identity for p in (row, column)), strict=True
            )
            if identity in names
        ]
        labels.append(([(names[label], float(probability[k, label])) for label in first], judged))
    return "", labels


def _true_images(images: GridImages, data: IdentityData, pairs: list[tuple[int, int]]) -> Pixels | None:
    """None where the data are not the embedded ones, or have images of others among them."""
    if not is_toy(data.root):
        return None
    height, width = images.donors.shape[1:3]
    paths = [record.path for record in images.records]
    try:
        world = ToyWorld.open(data.root)
        return np.stack([world.true_image(paths[row], paths[column], (height, width)) for row, column in pairs])
    except DgaugError:
        return None


def _scores(
    flat: Pixels, images: GridImages, pairs: list[tuple[int, int]], true: Pixels | None
) -> list[list[tuple[str, str]]]:
    columns = [column for _, column in pairs]
    tables = [("grey SSIM to the structure donor", grey_ssim(flat, images.donors[columns]), ".3f")]
    if true is not None:
        error = np.abs(flat.astype(np.float32) - true).mean(axis=(1, 2, 3))
        tables += [
            ("SSIM to the true image", _ssim(flat, true), ".3f"),
            ("error against it (grey levels)", error, ".1f"),
        ]
    labels = [[(name, f"{values[k]:{form}}") for name, values, form in tables] for k in range(len(pairs))]
    own = _ssim(flat, images.donors[columns])
    for k, (row, column) in enumerate(pairs):
        if row == column:
            labels[k].append(("SSIM to the image itself", f"{own[k]:.3f}"))
    return labels


def _ssim(first: Pixels, second: Pixels) -> NDArray[np.float64]:
    return ssim(torch.from_numpy(first), torch.from_numpy(second)).numpy()
