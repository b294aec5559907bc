"""`dgaug report`."""

from __future__ import annotations

from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json


@click.command("report")
@click.argument("run", default="latest", metavar="[RUN]")
@shared.data("Data set of the donors and ranked lists (default: that of the run).")
@click.option(
    "--count", default=8, show_default=True, type=click.IntRange(2, 12), metavar="N", help="Identities in the grid."
)
@shared.seed("Random seed of the choice of identities and images.")
@shared.device
@shared.out("Output HTML file (default: report.html in the run).", kind=shared.FILE)
@shared.force("Overwrite an existing file given by --out.")
@shared.as_json
def command(run: str, as_json: bool, **options: Any) -> None:
    """Write one HTML page about a run: images, curves, scores.

    RUN is a run folder, a run number, or latest. The run may be in any state: the page lists what is missing and the
    command that makes it. It opens from disk without a network connection.

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
