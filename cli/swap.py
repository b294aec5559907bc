"""`dgaug swap`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note


@click.command("swap")
@click.argument("appearance", type=click.Path(path_type=Path))
@click.argument("structure", type=click.Path(path_type=Path))
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option("--out", default="swap.png", show_default=True, type=click.Path(path_type=Path, dir_okay=False))
def command(appearance: Path, structure: Path, run: str, out: Path) -> None:
    """Draw the appearance of one picture on the structure of another.

    \b
    Example:
        dgaug swap anna.jpg ben.jpg --out anna-as-ben.png
    """
    from dgaug.synthesis.drawing import swap

    note(str(swap(appearance, structure, run=run, out=out)))
