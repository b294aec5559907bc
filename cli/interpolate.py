"""`dgaug interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, show_json
from dgaug_cli.options import FILE, PATH, device_option, force_option, json_option, out_option, run_option


@click.command("interpolate")
@click.argument("first", type=PATH)
@click.argument("second", type=PATH)
@run_option
@click.option(
    "--what",
    default="appearance",
    show_default=True,
    type=click.Choice(["appearance", "structure"]),
    help="Code to interpolate; the other code is that of each image.",
)
@click.option(
    "--steps",
    default=11,
    show_default=True,
    type=click.IntRange(2, 200),
    metavar="N",
    help="Number of steps, including both ends.",
)
@out_option(
    "Output file. PNG: all steps; GIF: an animation, forwards and backwards.",
    default="interpolation.png",
    kind=FILE,
    metavar="FILE",
)
@device_option
@force_option("Overwrite an existing output file.")
@json_option
def command(first: Path, second: Path, what: str, steps: int, as_json: bool, **options: Any) -> None:
    """Interpolate between the codes of two images.

    The appearance (or structure) changes in steps from that of FIRST to that of SECOND, once with the other code of
    each image.

    \b
    Examples:
        dgaug interpolate anna.jpg ben.jpg --out clothes.png
        dgaug interpolate anna.jpg ben.jpg --what structure --steps 21 --out poses.gif
    """
    from dgaug.synthesis.interpolation import interpolate

    path = interpolate(first, second, what=what, steps=steps, **options)
    if as_json:
        show_json({"picture": str(path), "first": str(first), "second": str(second), "what": what, "steps": steps})
    else:
        note(str(path))
