"""`dgaug train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json

if TYPE_CHECKING:
    from dgaug.runs import Run

MANY = 100_000
"""Pairs from which on a first store has a part of them."""


@click.command("train")
@shared.data("Data set in any supported layout (default: the embedded data).")
@shared.config("Preset (dgaug config list) or YAML file (default: toy without --data, else the market1501 settings).")
@shared.overrides
@shared.out("Run folder (default: the next number under runs/).")
@click.option(
    "--teacher",
    multiple=True,
    type=shared.PATH,
    help="Re-id checkpoint to use as teacher; repeat to average the soft labels of several.",
)
@click.option("--resume", is_flag=True, help="Resume the run in --out, or the newest run.")
@shared.run_seed
@click.option("--limit-identities", type=int, metavar="N", help="Use only the first N training identities.")
@shared.depth(default=None)
@shared.log
@shared.device
@click.option("--compile", is_flag=True, help="Compile the networks with torch.compile.")
@shared.from_scratch
@click.option("--dry-run", is_flag=True, help="Only show the command that fits the data, its time and its memory.")
@shared.force("Start over; discard the run in --out.")
@shared.as_json
def command(teacher: tuple[Path, ...], dry_run: bool, as_json: bool, **options: Any) -> None:
    """Train a teacher, then DG-Net.

    \b
    Examples:
        dgaug train
        dgaug train --data ../Market-1501 --dry-run
        dgaug train --data ../Market-1501 --config market1501
        dgaug train --resume --out runs/00001-market1501
        torchrun --nproc-per-node 4 -m dgaug train --data ../Market-1501 --config market1501
    """
    from dgaug.training.train import train

    if dry_run:
        _show_plan(teacher, as_json, **options)
        return
    with progress_shown() as progress:
        run = train(teacher=teacher or None, progress=progress, **options)
    if as_json:
        show_json({"run": str(run.folder), "checkpoint": str(run.checkpoint), "teacher": str(run.teacher)})
    else:
        note(f"run: {run.folder}", f"next: dgaug synthesize --pairs {first_pairs(run)} --run {run.folder}")


def first_pairs(run: Run) -> str:
    """The pairs of a first store: all of them, where these are few."""
    images = run.data_description().get("images")
    return "all" if isinstance(images, int) and images**2 <= MANY else "per-appearance:10"


def _show_plan(teacher: tuple[Path, ...], as_json: bool, resume: bool, force: bool, **options: Any) -> None:
    from dgaug.training.planner import plan_training

    if resume:
        raise click.UsageError("--dry-run plans a new run; remove --resume")
    with progress_shown() as progress:
        plan = plan_training(teacher=teacher or None, progress=progress, **options)
    if as_json:
        show_json(plan.described())
    else:
        note(*plan.lines())
