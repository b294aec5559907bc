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
@shared.examined_run
@shared.device
@shared.as_json
def command(runs: Path, run: str | None, device: str, as_json: bool) -> None:
    """Check this machine or a run: what is missing or odd.

    For each missing item it prints how to get it. Nothing is downloaded or changed, and the exit code is always 0.

    \b
    Examples:
        dgaug doctor
        dgaug doctor --run runs/00001-market1501
        dgaug doctor --json
    """
    from dgaug.report.doctor import examine

    if run is not None:
        from dgaug.report.diagnosis import diagnose

        findings = diagnose(run, device=device)
        show_json([asdict(one) for one in findings]) if as_json else _show(f"run {run}", findings, "odd    ")
        return
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


def _show(title: str, findings: Sequence[Finding], problem: str = "missing") -> None:
    """One line per finding and one per remedy, never wrapped, so that paths and commands can be copied."""
    click.echo(f"\n{click.style(title, bold=True)}")
    for one in findings:
        state = click.style("ok     ", fg="green") if one.ok else click.style(problem, fg="yellow")
        click.echo(f"  {state}  {one.name}: {visible(one.found)}")
        if one.remedy:
            click.echo(f"           {visible(one.remedy)}")
