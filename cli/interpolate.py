"""`dgaug interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, show_json
from dgaug_cli.device import device_option


@click.command("interpolate")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option(
    "--what",
    default="appearance",
    show_default=True,
    type=click.Choice(["appearance", "structure"]),
    help="The code that changes; the other is kept from each of the two pictures.",
)
@click.option("--steps", default=11, show_default=True, type=click.IntRange(2, 200), help="From 0 to 1, both included.")
@click.option(
    "--out",
    default="interpolation.png",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="PNG: all steps; GIF: there and back.",
)
@device_option
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(first: Path, second: Path, what: str, steps: int, as_json: bool, **options: Any) -> None:
    """Draw the way from one picture's appearance (or structure) to another's, on both of them.

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
