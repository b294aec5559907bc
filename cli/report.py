"""`dgaug report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, progress_shown, show_json
from dgaug_cli.device import device_option


@click.command("report")
@click.argument("run", default="latest", metavar="[RUN]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Data set of donors and ranked lists; default: the run's."
)
@click.option("--count", default=8, show_default=True, type=click.IntRange(2, 12), help="Identities of the grid.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Which identities and pictures.")
@device_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="HTML; default: report.html in the run.")
@click.option("--force", is_flag=True, help="Replace the file that --out names.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run: str, as_json: bool, **options: Any) -> None:
    """Write one HTML page that shows a run: pictures, curves, scores, re-id, settings.

    RUN is a run folder, its number, or latest. It may be in any state: the page says what is missing and which command
    makes it. It opens from disk and needs no network.

    \b
    Examples:
        dgaug report
        dgaug report 3 --out run3.html
        dgaug report runs/00001-market1501 --count 12
    """
    from dgaug.report.page import report_run

    with progress_shown() as progress:
        path = report_run(run, progress=progress, **options)
    if as_json:
        show_json({"report": str(path), "bytes": path.stat().st_size})
    else:
        note(str(path))
