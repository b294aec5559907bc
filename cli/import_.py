"""`dgaug import`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json


@click.command("import")
@click.argument("directory", type=shared.PATH)
@shared.out("Run folder to create.", required=True, metavar="RUN")
@click.option("--teacher", type=shared.PATH, help="Teacher checkpoint (default: DIRECTORY/teacher/net_last.pth).")
@click.option(
    "--teacher-stride",
    type=click.IntRange(1, 2),
    help="Last stride of the teacher (default: as in the opts.yaml beside it, else 1).",
)
@shared.data("Data set on which the networks were trained.")
@shared.force("Replace the run in --out.")
@shared.as_json
def command(directory: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Import checkpoints in the published DG-Net file format.

    The result is a run folder. DIRECTORY, or checkpoints/ in it, holds gen_N.pt, id_N.pt and optionally dis_N.pt.

    \b
    Example:
        dgaug import outputs/E0.5new_reid0.5_w30000 --teacher models/best/net_last.pth --out runs/00001-published
    """
    from dgaug.models.import_published import import_published

    with progress_shown() as progress:
        run = import_published(directory, out, progress=progress, **options)
    if as_json:
        judge = str(run.teacher) if run.teacher.is_file() else None
        show_json({"run": str(run.folder), "checkpoint": str(run.checkpoint), "teacher": judge})
    else:
        more = "" if options["data"] else " --data DIR"
        note(f"run: {run.folder}\nnext: dgaug grid --run {run.folder}{more}")
