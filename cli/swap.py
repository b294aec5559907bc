"""`dgaug swap`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note, show_json
from dgaug_cli.device import device_option


@click.command("swap")
@click.argument("appearance", type=click.Path(path_type=Path))
@click.argument("structure", type=click.Path(path_type=Path))
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option("--out", default="swap.png", show_default=True, type=click.Path(path_type=Path, dir_okay=False))
@device_option
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(appearance: Path, structure: Path, run: str, out: Path, device: str, force: bool, as_json: bool) -> None:
    """Draw the appearance of one picture on the structure of another.

    \b
    Example:
        dgaug swap anna.jpg ben.jpg --out anna-as-ben.png
    """
    from dgaug.synthesis.drawing import swap

    path = swap(appearance, structure, run=run, out=out, device=device, force=force)
    if as_json:
        show_json({"picture": str(path), "appearance": str(appearance), "structure": str(structure)})
    else:
        note(str(path))
