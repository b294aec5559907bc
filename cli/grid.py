"""`dgaug grid`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note


@click.command("grid")
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option("--data", type=click.Path(path_type=Path), help="Data set of the donors; default: the run's.")
@click.option("--count", default=8, show_default=True, type=click.IntRange(min=1), help="Identities, one picture each.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Which identities and pictures.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="PNG; default: samples/ in the run.")
def command(run: str, data: Path | None, count: int, seed: int, out: Path | None) -> None:
    """Draw the N x N picture of a run: row i wears appearance i, column j stands in structure j.

    \b
    Example:
        dgaug grid --count 6 --out grid.png
    """
    from dgaug.synthesis.drawing import draw_grid

    note(str(draw_grid(run, data=data, count=count, seed=seed, out=out)))
