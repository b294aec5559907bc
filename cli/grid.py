"""`dgaug grid`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note, show_json
from dgaug_cli.device import device_option


@click.command("grid")
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option(
    "--appearance", "appearances", multiple=True, type=click.Path(path_type=Path), help="Picture of a row; repeat."
)
@click.option(
    "--structure", "structures", multiple=True, type=click.Path(path_type=Path), help="Picture of a column; repeat."
)
@click.option("--data", type=click.Path(path_type=Path), help="Data set of the donors; default: the run's.")
@click.option("--count", type=click.IntRange(min=1), help="Identities, one picture each; default: 8, or all if fewer.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Which identities and pictures.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="PNG, PDF, ...; default: samples/ in the run."
)
@device_option
@click.option("--force", is_flag=True, help="Replace the file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    run: str,
    appearances: tuple[Path, ...],
    structures: tuple[Path, ...],
    data: Path | None,
    count: int | None,
    seed: int,
    out: Path | None,
    device: str,
    force: bool,
    as_json: bool,
) -> None:
    """Draw the N x N picture of a run: row i wears appearance i, column j stands in structure j.

    Rows and columns that are not named are pictures of the data set, chosen by --count and --seed.

    \b
    Examples:
        dgaug grid --count 6 --out grid.png
        dgaug grid --appearance anna.jpg --appearance ben.jpg --structure chris.jpg --out three.png
    """
    from dgaug.synthesis.drawing import drawn_grid

    path, donors = drawn_grid(
        run,
        appearances=appearances,
        structures=structures,
        data=data,
        count=count,
        seed=seed,
        out=out,
        device=device,
        force=force,
    )
    if as_json:
        named = {name: [str(file) for file in files] for name, files in donors._asdict().items()}
        show_json({"picture": str(path), **named})
    else:
        note(str(path))
