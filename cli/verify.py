"""`dgaug verify`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json


@click.command("verify")
@click.argument("store", required=False, type=shared.PATH, metavar="[STORE]")
@shared.as_json
@click.pass_context
def command(context: click.Context, store: Path | None, as_json: bool) -> None:
    """Check the hashes, counts, images and labels of a store.

    STORE defaults to that of the latest run. Exit code 1: the store is damaged.

    \b
    Examples:
        dgaug verify
        dgaug verify runs/00001-toy/store
    """
    from dgaug.runs import find_run
    from dgaug.store.verify import verify

    store = store or find_run("latest").store

    with progress_shown() as progress:
        report = verify(store, progress=progress)
    if as_json:
        show_json({"ok": report.ok, "findings": [{"where": one.where, "what": one.what} for one in report.findings]})
    else:
        for finding in report.findings:
            note(f"{finding.where}: {finding.what}")
        note(f"no damage found in {store}" if report.ok else f"{len(report.findings)} problems found in {store}")
    if not report.ok:
        context.exit(1)
