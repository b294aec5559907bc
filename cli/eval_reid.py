"""`dgaug eval-reid`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table


@click.command("eval-reid")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Data set with query and gallery.")
@click.option("--layout", default="auto", show_default=True, help="Layout, if it is not recognised.")
@click.option("--pattern", metavar="REGEX", help="Your own names, see dgaug data check.")
@click.option("--cameras", default="auto", show_default=True, metavar="POLICY", help="auto, none or required.")
@click.option("--fine-weight", default=0.5, show_default=True, type=float, help="Weight of the fine half.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(checkpoint: Path, data: Path, fine_weight: float, as_json: bool, **reading: str | None) -> None:
    """Evaluate any re-id checkpoint on any data set: CMC, both mAPs, mINP.

    \b
    Example:
        dgaug eval-reid runs/00001-toy/teacher/last.pt --data runs/00001-toy/data
    """
    from dgaug.scores.evaluation import evaluate_reid

    with progress_shown() as progress:
        tables = evaluate_reid(checkpoint, data, fine_weight=fine_weight, progress=progress, **reading)
    if as_json:
        show_json(tables)
        return
    counts = next(iter(tables.values()))
    rows = [[name, *(table[name] for table in tables.values())] for name in counts if "/" in name]
    show_table("ranking", ("figure", *tables), rows)
    note("  ".join(f"{name}: {value:,}" for name, value in counts.items() if "/" not in name))
