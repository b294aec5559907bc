"""`dgaug swap`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, show_json


@click.command("swap")
@click.argument("appearance", type=shared.PATH)
@click.argument("structure", type=shared.PATH)
@shared.run
@shared.out("Output file.", default="swap.png", kind=shared.FILE)
@shared.device
@shared.force("Overwrite an existing output file.")
@shared.as_json
def command(appearance: Path, structure: Path, as_json: bool, **options: Any) -> None:
    """Generate one image's appearance on another's structure.

    \b
    Example:
        dgaug swap anna.jpg ben.jpg --out anna-as-ben.png
    """
    from dgaug.synthesis.draw import swap

    path = swap(appearance, structure, **options)
    if as_json:
        show_json({"picture": str(path), "appearance": str(appearance), "structure": str(structure)})
    else:
        note(str(path))
