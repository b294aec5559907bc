"""`dgaug export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, progress_shown, show_json


@click.command("export")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Choice(["folders", "webdataset", "csv"]), help="The form.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A new or empty folder.")
@click.option("--labels", metavar="POLICY", help="soft, appearance, structure, pseudo, ...; default: soft if stored.")
@click.option(
    "--identity",
    default="appearance",
    show_default=True,
    type=click.Choice(["appearance", "structure", "new"]),
    help="folders: whose identity the file name has; new: one further identity for all.",
)
@click.option(
    "--unknown-camera",
    type=click.IntRange(min=0),
    metavar="N",
    help="folders: number in the file name where the camera is unknown; default: no camera in the name.",
)
@click.option(
    "--shard-size", default=10_000, show_default=True, type=click.IntRange(min=1), help="webdataset: pictures per tar."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N pictures of the store.")
@click.option("--force", is_flag=True, help="Start over; removes only what an export wrote.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool, **options: Any) -> None:
    """Write a store for other programs: Market-style folders, WebDataset tar files, or one CSV table.

    \b
    folders     bounding_box_train/0002_c1s1_0000451_00.jpg, ..., labels.csv, identities.csv
    webdataset  000000.tar, ... with KEY.jpg and KEY.json
    csv         labels.csv: every pair with its donors and its label, no pictures
    \b
    Examples:
        dgaug export runs/00001-toy/store --to folders --out generated
        dgaug export runs/00001-toy/store --to webdataset --out tars --labels two-soft
    """
    from dgaug.store.export import export_store

    with progress_shown() as progress:
        made = export_store(progress=progress, **options)
    if as_json:
        show_json(
            {
                "out": str(made.out),
                "to": made.to,
                "pictures": made.pictures,
                "labels": made.labels,
                "already_complete": made.already_complete,
                "notes": made.notes,
            }
        )
        return
    for text in made.notes:
        note(text)
    word = "already complete: " if made.already_complete else ""
    note(f"{word}{made.pictures:,} {'pairs' if made.to == 'csv' else 'pictures'} in {made.out}")
