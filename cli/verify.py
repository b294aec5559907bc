"""`dgaug verify`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note, progress_shown, show_json


@click.command("verify")
@click.argument("store", required=False, type=click.Path(path_type=Path), metavar="[STORE]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def command(context: click.Context, store: Path | None, as_json: bool) -> None:
    """Check a store bit by bit: hashes, counts, every picture, every label. Exit code 1: damage found.

    Without STORE: that of the latest run.

    \b
    Examples:
        dgaug verify
        dgaug verify runs/00001-toy/store
    """
    from dgaug.runs import find_run
    from dgaug.store.verify import verify

    store = store or find_run("latest").store

    with progress_shown() as progress:
        report = verify(store, on_progress=lambda done, total: progress("verifying", done, total))
    if as_json:
        show_json(
            {"ok": report.ok, "findings": [{"where": found.where, "what": found.what} for found in report.findings]}
        )
    else:
        for finding in report.findings:
            note(f"{finding.where}: {finding.what}")
        note(f"the store is whole: {store}" if report.ok else f"{len(report.findings)} findings in {store}")
    if not report.ok:
        context.exit(1)
