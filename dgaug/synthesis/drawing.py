"""A few pictures straight from a checkpoint: the N x N grid of a run, and the swap of two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dgaug.chance import draws
from dgaug.data.images import open_picture, to_pixels
from dgaug.data.pixels import denormalise
from dgaug.data.records import class_names
from dgaug.data.training import read_data
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import TrainedGenerator, load_generator
from dgaug.pictures.sheet import nxn_sheet, save_sheet
from dgaug.runs import find_run
from dgaug.synthesis.codes import encode_pictures

Pixels = NDArray[np.uint8]


def draw_grid(
    run: str | Path = "latest",
    *,
    data: str | Path | None = None,
    count: int = 8,
    seed: int = 0,
    out: str | Path | None = None,
) -> Path:
    """Write the N x N picture of `count` identities, one seeded picture each; returns its path.

    `data` is a data set whose training pictures are the donors; None: the run's.

    Raises:
        DgaugError: no such run or data, or fewer identities than asked for.
    """
    found = find_run(str(run))
    model = load_generator(found.checkpoint)
    paths = _donors(Path(data) if data else found.data_root(), model, count, seed)
    donors = _pixels(paths, model)
    sheet = nxn_sheet(draw_all(model, donors, donors), donors, donors)
    return save_sheet(sheet, Path(out) if out else found.samples / f"grid-{count}x{count}.png")


def swap(
    appearance: str | Path, structure: str | Path, *, run: str | Path = "latest", out: str | Path = "swap.png"
) -> Path:
    """Write the picture that wears `appearance` in the structure of `structure`; returns its path."""
    model = load_generator(find_run(str(run)).checkpoint)
    pictures = draw_all(model, _pixels([Path(appearance)], model), _pixels([Path(structure)], model))
    return save_sheet(Image.fromarray(pictures[0, 0]), Path(out))


@torch.no_grad()
def draw_all(model: TrainedGenerator, appearances: Pixels, structures: Pixels) -> Pixels:
    """Every appearance on every structure: uint8 [A, H, W, 3] and [S, H, W, 3] to [A, S, H, W, 3]."""
    _, adain = encode_pictures(model, torch.from_numpy(appearances))
    codes, _ = encode_pictures(model, torch.from_numpy(structures))
    rows = [denormalise(model.generator.decoder(codes, row.expand(len(codes), *row.shape))) for row in adain]
    return torch.stack(rows).numpy()


def _donors(root: Path, model: TrainedGenerator, count: int, seed: int) -> list[Path]:
    data = read_data(root, model.settings.data)
    records = data.splits["train"]
    names = class_names(records)
    if count > len(names):
        raise DgaugError(f"{root} has {len(names)} identities, {count} were asked for")
    rng = draws("grid", seed)
    chosen = [names[k] for k in rng.permutation(len(names))[:count]]
    by_name = {name: [record for record in records if record.identity == name] for name in chosen}
    return [data.picture_path(by_name[name][int(rng.integers(len(by_name[name])))]) for name in chosen]


def _pixels(paths: Sequence[Path], model: TrainedGenerator) -> Pixels:
    return np.stack([to_pixels(open_picture(path), model.settings.data.image_size) for path in paths])
