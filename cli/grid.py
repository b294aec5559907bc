"""`dgaug grid`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, show_json


@click.command("grid")
@shared.run
@click.option("--appearance", "appearances", multiple=True, type=shared.PATH, help="Appearance of a row; repeatable.")
@click.option("--structure", "structures", multiple=True, type=shared.PATH, help="Structure of a column; repeatable.")
@shared.data("Data set of the donors (default: that of the run).")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of identities, one image each (default: 8, or all if there are fewer).",
)
@shared.seed("Random seed of the choice of identities and images.")
@shared.out("Output file: PNG, PDF, ... (default: a PNG in samples/ of the run).", kind=shared.FILE)
@shared.device
@shared.force("Overwrite an existing output file.")
@shared.as_json
def command(run: str, out: Path | None, device: str, force: bool, as_json: bool, **choice: Any) -> None:
    """Generate a grid: every appearance on every structure.

    Row i has appearance i, column j has structure j. Rows or columns that are not given are images
    sampled from the data set (--count, --seed).

    \b
    Examples:
        dgaug grid --count 6 --out grid.png
        dgaug grid --appearance anna.jpg --appearance ben.jpg --structure chris.jpg --out three.png
    """
    from dgaug.synthesis.draw import Donors, draw_grid

    donors: list[Donors] = []
    path = draw_grid(run, out=out, device=device, force=force, on_donors=donors.append, **choice)
    if as_json:
        named = {name: [str(file) for file in files] for name, files in donors[0]._asdict().items()}
        show_json({"picture": str(path), **named})
    else:
        note(str(path))
