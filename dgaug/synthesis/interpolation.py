"""Interpolation between the codes of two pictures, drawn on both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.pixels import denormalise, normalise
from dgaug.device import AUTO, on_device
from dgaug.errors import DgaugError
from dgaug.files import require_free
from dgaug.models.checkpoints import TrainedGenerator, load_generator
from dgaug.pictures.interpolation import interpolation_sheet, save_animation
from dgaug.pictures.sheet import save_sheet
from dgaug.runs import find_run
from dgaug.surroundings import as_found
from dgaug.synthesis.drawing import here, pixels_of

Pixels = NDArray[np.uint8]
WHAT = ("appearance", "structure")
_SHEETS = (".png", ".jpg", ".jpeg")


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
    """Write the way from one picture's code to another's, the other code kept from each of the two; returns its path.

    Source: the published figures of smooth interpolation (method.md 5.4).

    Args:
        first, second: two picture files of any size.
        run: the run whose generator draws.
        what: the code that changes, `appearance` or `structure`.
        steps: pictures from weight 0 to weight 1, both included.
        out: a sheet (`.png`, `.jpg`) with all steps, or an animation there and back (`.gif`).
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: replace the file that is there.

    Raises:
        DgaugError: no such run, an unreadable picture, or a file that is there.
    """
    out = Path(out)
    if what not in WHAT:
        raise DgaugError(f"expected --what to be one of {', '.join(WHAT)}, found {what!r}")
    if steps < 2:
        raise DgaugError(f"expected at least 2 steps, the two pictures' own codes, found {steps}")
    if out.suffix.lower() not in (".gif", *_SHEETS):
        raise DgaugError(f"expected --out to end in .png (all steps) or .gif (an animation), found {out}")
    require_free(out, force=force)
    model = here(load_generator(find_run(str(run)).checkpoint))
    donors = pixels_of([Path(first), Path(second)], model)
    weights = [step / (steps - 1) for step in range(steps)]
    cells = draw_between(model, donors, weights, what=what)
    if out.suffix.lower() == ".gif":
        return save_animation(cells, out)
    return save_sheet(interpolation_sheet(cells, donors, weights, what=what), out)


@torch.no_grad()
def draw_between(model: TrainedGenerator, donors: Pixels, weights: list[float], *, what: str) -> Pixels:
    """Linear steps between the codes of two donors uint8 [2, H, W, 3]: pictures [2, S, H, W, 3].

    Row r keeps the other code of donor r; step s has `weights[s]` of the second donor's code. It is the appearance
    code itself that is interpolated, not the AdaIN parameters made of it.
    """
    pictures = normalise(torch.from_numpy(donors).to(next(model.generator.parameters()).device))
    structure, appearance = model.generator.structure(pictures), model.appearance(pictures).appearance
    rows = []
    for row in range(2):
        drawn = []
        for weight in weights:
            between = [torch.lerp(code[0], code[1], weight)[None] for code in (structure, appearance)]
            codes = (
                (structure[row : row + 1], between[1])
                if what == "appearance"
                else (between[0], appearance[row : row + 1])
            )
            drawn.append(denormalise(model.generator(*codes))[0])
        rows.append(torch.stack(drawn))
    return torch.stack(rows).cpu().numpy()
