"""`dgaug interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, show_json


@click.command("interpolate")
@click.argument("first", type=shared.PATH)
@click.argument("second", type=shared.PATH)
@shared.run
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
@shared.out(
    "Output file. PNG: all steps; GIF: an animation, forwards and backwards.",
    default="interpolation.png",
    kind=shared.FILE,
)
@shared.device
@shared.force("Overwrite an existing output file.")
@shared.as_json
def command(first: Path, second: Path, what: str, steps: int, as_json: bool, **options: Any) -> None:
    """Interpolate between the codes of two images.

    The appearance (or structure) changes in steps from that of FIRST to that of SECOND, once with the other code of
    each image.

    \b
    Examples:
        dgaug interpolate anna.jpg ben.jpg --out clothes.png
        dgaug interpolate anna.jpg ben.jpg --what structure --steps 21 --out poses.gif
    """
    from dgaug.synthesis.draw import interpolate

    path = interpolate(first, second, what=what, steps=steps, **options)
    if as_json:
        show_json({"picture": str(path), "first": str(first), "second": str(second), "what": what, "steps": steps})
    else:
        note(str(path))
