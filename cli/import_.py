"""`dgaug import`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note, progress_shown, show_json


@click.command("import")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="RUN", help="The run folder to create.")
@click.option("--teacher", type=click.Path(path_type=Path), help="Teacher; default: DIRECTORY/teacher/net_last.pth.")
@click.option(
    "--teacher-stride",
    type=click.IntRange(1, 2),
    help="Last stride of the teacher; default: what opts.yaml beside it says, 1 without that file.",
)
@click.option("--data", type=click.Path(path_type=Path), help="Data set the networks were trained on.")
@click.option("--force", is_flag=True, help="Replace the run that --out holds.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    directory: Path,
    out: Path,
    teacher: Path | None,
    teacher_stride: int | None,
    data: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a run of checkpoints in the published DG-Net file format.

    DIRECTORY holds gen_N.pt, id_N.pt and perhaps dis_N.pt, itself or in checkpoints/.

    \b
    Example:
        dgaug import outputs/E0.5new_reid0.5_w30000 --teacher models/best/net_last.pth --out runs/00001-published
    """
    from dgaug.training.importing import import_published

    with progress_shown() as progress:
        run = import_published(
            directory,
            out,
            teacher=teacher,
            teacher_stride=teacher_stride,
            data=data,
            force=force,
            progress=progress,
        )
    if as_json:
        judge = str(run.teacher) if run.teacher.is_file() else None
        show_json({"run": str(run.folder), "checkpoint": str(run.checkpoint), "teacher": judge})
    else:
        more = "" if data else " --data DIR"
        note(f"run: {run.folder}\nnext: dgaug grid --run {run.folder}{more}")
