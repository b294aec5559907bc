"""A few images straight from a checkpoint: a grid, the swap of two images, an interpolation between their codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dgaug.data.images import open_image, to_pixels
from dgaug.data.normalisation import normalise
from dgaug.data.prepare import read_data
from dgaug.data.recorded import read_run_data
from dgaug.data.records import IdentityData, Record, class_names
from dgaug.device import AUTO, default_device, on_device
from dgaug.errors import DgaugError
from dgaug.figures.sheets import interpolation_sheet, nxn_sheet, save_animation, save_sheet
from dgaug.models.checkpoints import TrainedGenerator, load_generator
from dgaug.models.generator import AT_ONCE, every_pair
from dgaug.outputs import require_free
from dgaug.runs import Run, find_run
from dgaug.seeding import draws
from dgaug.surroundings import as_found
from dgaug.synthesis.encoding import encode_images

Pixels = NDArray[np.uint8]
Files = Sequence[str | Path]
SIDE = 8
"""Identities of a grid, unless more or fewer are asked for."""
WHAT = ("appearance", "structure")
_SHEETS = (".png", ".jpg", ".jpeg")


class Donors(NamedTuple):
    """The files of a grid: one for each row, one for each column."""

    appearances: list[Path]
    structures: list[Path]


@as_found
@on_device
def draw_grid(
    run: str | Path = "latest",
    *,
    appearances: Files = (),
    structures: Files = (),
    data: str | Path | None = None,
    count: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = AUTO,
    force: bool = False,
    on_donors: Callable[[Donors], object] | None = None,
) -> Path:
    """Write the image of every appearance on every structure; returns its path.

    Args:
        run: the run whose generator draws.
        appearances, structures: image files of any size; where none is given, `count` identities of the data stand
            in, one seeded image each, the same ones for both.
        data: a data set whose training images these are; None: the run's.
        count: identities; None: `SIDE`, or all where there are fewer.
        seed: which identities and images.
        out: None: `samples/` of the run, whose grids are replaced.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: replace a file that is named by `out`.
        on_donors: called with the files.

    Raises:
        DgaugError: no such run, data or image, fewer identities than asked for, or a file that is there.
    """
    if out is not None:
        require_free(Path(out), force=force)
    trained = find_run(str(run))
    model = load_generator(trained.checkpoint).to(default_device())
    donors = grid_donors(trained, appearances, structures, data=data, count=count, seed=seed)
    if on_donors is not None:
        on_donors(donors)
    rows, columns = pixels_of(donors.appearances, model), pixels_of(donors.structures, model)
    sheet = nxn_sheet(generate_all(model, rows, columns), rows, columns)
    path = Path(out) if out else trained.samples / f"grid-{len(rows)}x{len(columns)}.png"
    return save_sheet(sheet, path)


def grid_donors(
    run: Run,
    appearances: Files = (),
    structures: Files = (),
    *,
    data: str | Path | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Donors:
    """The files of a grid, images of the data for the side that names none; arguments and errors: `draw_grid`."""
    named = Donors([Path(file) for file in appearances], [Path(file) for file in structures])
    if named.appearances and named.structures:
        return named
    settings = run.settings().data
    content = read_data(Path(data), settings) if data else read_run_data(run, settings)
    chosen = _chosen(content, count, seed)
    return Donors(named.appearances or chosen, named.structures or chosen)


def grid_records(records: Sequence[Record], *, count: int, seed: int) -> list[Record]:
    """One seeded image of each of `count` identities, or of all where there are fewer."""
    names = class_names(records)
    rng = draws("grid", seed)
    chosen = [names[k] for k in rng.permutation(len(names))[:count]]
    by_name = {name: [record for record in records if record.identity == name] for name in chosen}
    return [by_name[name][int(rng.integers(len(by_name[name])))] for name in chosen]


@as_found
@on_device
def swap(
    appearance: str | Path,
    structure: str | Path,
    *,
    run: str | Path = "latest",
    out: str | Path = "swap.png",
    device: str = AUTO,
    force: bool = False,
) -> Path:
    """Write the image that wears `appearance` in the structure of `structure`; returns its path.

    Raises:
        DgaugError: no such run or device, an unreadable image, or a file that is there without `force`.
    """
    require_free(Path(out), force=force)
    model = load_generator(find_run(str(run)).checkpoint).to(default_device())
    images = generate_all(model, pixels_of([Path(appearance)], model), pixels_of([Path(structure)], model))
    return save_sheet(Image.fromarray(images[0, 0]), Path(out))


@as_found
@on_device
def interpolate(
    first: str | Path,
    second: str | Path,
    *,
    run: str | Path = "latest",
    what: str = "appearance",
    steps: int = 11,
    out: str | Path = "interpolation.png",
    device: str = AUTO,
    force: bool = False,
) -> Path:
    """Write the way from one image's code to another's, the other code kept from each of the two; returns its path.

    Source: the published figures of smooth interpolation (method.md 5.4).

    Args:
        first, second: two image files of any size.
        run: the run whose generator draws.
        what: the code that changes, `appearance` or `structure`.
        steps: images from weight 0 to weight 1, both included.
        out: a sheet (`.png`, `.jpg`) with all steps, or an animation there and back (`.gif`).
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: replace the file that is there.

    Raises:
        DgaugError: no such run, an unreadable image, or a file that is there.
    """
    out = Path(out)
    if what not in WHAT:
        raise DgaugError(f"expected --what to be one of {', '.join(WHAT)}, found {what!r}")
    if steps < 2:
        raise DgaugError(f"expected at least 2 steps, the two images' own codes, found {steps}")
    if out.suffix.lower() not in (".gif", *_SHEETS):
        raise DgaugError(f"expected --out to end in .png (all steps) or .gif (an animation), found {out}")
    require_free(out, force=force)
    model = load_generator(find_run(str(run)).checkpoint).to(default_device())
    donors = pixels_of([Path(first), Path(second)], model)
    weights = [step / (steps - 1) for step in range(steps)]
    cells = generate_between(model, donors, weights, what=what)
    if out.suffix.lower() == ".gif":
        return save_animation(cells, out)
    return save_sheet(interpolation_sheet(cells, donors, weights, what=what), out)


@torch.no_grad()
def generate_between(model: TrainedGenerator, donors: Pixels, weights: list[float], *, what: str) -> Pixels:
    """Linear steps between the codes of two donors uint8 [2, H, W, 3]: images [2, S, H, W, 3].

    Row r keeps the other code of donor r; step s has `weights[s]` of the second donor's code. It is the appearance
    code itself that is interpolated, not the AdaIN parameters made of it.
    """
    images = normalise(torch.from_numpy(donors).to(next(model.generator.parameters()).device))
    structure, appearance = model.generator.structure(images), model.appearance(images).appearance
    generator = model.generator
    changing = appearance if what == "appearance" else structure
    steps = [torch.lerp(changing[0], changing[1], weight)[None] for weight in weights]
    if what == "appearance":
        adain = torch.cat([generator.adain(step) for step in steps])
        return np.stack([every_pair(generator.decoder, [own], adain)[:, 0] for own in torch.split(structure, 1)])
    return every_pair(generator.decoder, steps, generator.adain(appearance))


@torch.no_grad()
def generate_all(model: TrainedGenerator, appearances: Pixels, structures: Pixels) -> Pixels:
    """Every appearance on every structure: uint8 [A, H, W, 3] and [S, H, W, 3] to [A, S, H, W, 3]."""
    device = next(model.generator.parameters()).device
    _, adain = encode_images(model, torch.from_numpy(appearances).to(device))
    codes, _ = encode_images(model, torch.from_numpy(structures).to(device))
    return every_pair(model.generator.decoder, torch.split(codes, AT_ONCE), adain)


def pixels_of(paths: Sequence[Path], model: TrainedGenerator) -> Pixels:
    """Image files as the generator takes them: uint8 [N, H, W, 3]; DgaugError where one cannot be read."""
    depth = model.settings.data.depth
    levels = None if isinstance(depth, str) else depth
    return np.stack([to_pixels(open_image(path, levels), model.settings.data.image_size) for path in paths])


def _chosen(data: IdentityData, count: int | None, seed: int) -> list[Path]:
    names = class_names(data.splits["train"])
    count = min(SIDE, len(names)) if count is None else count
    if count > len(names):
        raise DgaugError(f"{data.source} has {len(names)} identities, {count} were asked for")
    return [data.image_path(record) for record in grid_records(data.splits["train"], count=count, seed=seed)]
