"""`dgaug doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import TYPE_CHECKING

import click
from dgaug_cli import options as shared
from dgaug_cli.console import show_json, show_table

from dgaug.visible import visible

if TYPE_CHECKING:
    from dgaug.report.doctor import Finding


@click.command("doctor")
@click.option("--runs", default="runs", show_default=True, type=shared.PATH, help="Directory that holds the runs.")
@shared.as_json
def command(runs: Path, as_json: bool) -> None:
    """Check this machine: versions, device, weights, runs.

    For each missing item it prints how to get it. Nothing is downloaded or changed, and the exit code is always 0.

    \b
    Examples:
        dgaug doctor
        dgaug doctor --json
    """
    from dgaug.report.doctor import examine

    state = examine(runs)
    if as_json:
        show_json(asdict(state))
        return
    show_table("versions", ("package", "version"), list(state.versions.items()))
    for title, findings in (("machine", state.machine), ("weights", state.weights), ("extras", state.extras)):
        _show(title, findings)
    if not state.runs:
        click.echo(f"\nruns: none in {visible(str(runs))}; dgaug train makes one")
        return
    rows = [[visible(run.folder), *("yes" if part else "" for part in astuple(run)[1:])] for run in state.runs]
    click.echo()
    show_table("runs", ("run", "trained", "store", "scored", "re-id", "report"), rows)


def _show(title: str, findings: Sequence[Finding]) -> None:
    """One line per finding and one per remedy, never wrapped, so that paths and commands can be copied."""
    click.echo(f"\n{click.style(title, bold=True)}")
    for one in findings:
        state = click.style("ok     ", fg="green") if one.ok else click.style("missing", fg="yellow")
        click.echo(f"  {state}  {one.name}: {visible(one.found)}")
        if one.remedy:
            click.echo(f"           {visible(one.remedy)}")
