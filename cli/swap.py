"""`dgaug swap`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, show_json
from dgaug_cli.options import FILE, PATH, device_option, force_option, json_option, out_option, run_option


@click.command("swap")
@click.argument("appearance", type=PATH)
@click.argument("structure", type=PATH)
@run_option
@out_option("Output file.", default="swap.png", kind=FILE, metavar="FILE")
@device_option
@force_option("Overwrite an existing output file.")
@json_option
def command(appearance: Path, structure: Path, as_json: bool, **options: Any) -> None:
    """Generate one image's appearance on another's structure.

    \b
    Example:
        dgaug swap anna.jpg ben.jpg --out anna-as-ben.png
    """
    from dgaug.synthesis.drawing import swap

    path = swap(appearance, structure, **options)
    if as_json:
        show_json({"picture": str(path), "appearance": str(appearance), "structure": str(structure)})
    else:
        note(str(path))
