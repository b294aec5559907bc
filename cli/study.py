"""`dgaug study`."""

from __future__ import annotations

from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json, show_table


@click.command("study")
@shared.data("Data set with query and gallery (default: the embedded data).")
@shared.config("Preset or YAML file (default: study if --data is not given).")
@click.option(
    "--fractions",
    default="0.1,0.2,0.4,0.6,0.8,1",
    show_default=True,
    metavar="F,F,...",
    help="Fractions of the real training images.",
)
@click.option(
    "--axis",
    default="images",
    show_default=True,
    metavar="AXIS",
    help="What the fractions are of: images, identities, or per-identity (of the images of each identity).",
)
@click.option(
    "--arms",
    metavar="NAME,...",
    help="real, augmented, generated, copied, true, generated-augmented, two-stage, falling-ratio, falling-weight, "
    "selected, diverse, selected-diverse, trusted, mixup, structures (default: the first four; on embedded data true, "
    "too).",
)
@click.option(
    "--model", default="bot", show_default=True, metavar="NAME", help="Re-id model: dgnet, baseline, pcb or bot."
)
@click.option(
    "--repeats",
    default=5,
    show_default=True,
    type=int,
    metavar="N",
    help="Repetitions, each with another subset, generator and model seed; at least 3.",
)
@shared.seed("Random seed of the first repeat (default: that of the settings).", default=None)
@click.option(
    "--steps",
    metavar="N,...",
    help="Numbers of optimiser steps to choose from, once per fraction (default: 0.5, 1 and 2 times reid.iterations).",
)
@click.option(
    "--rates", metavar="R,...", help="Learning rates to choose from, times reid.learning_rate (default: 0.3,1)."
)
@click.option("--pairs", metavar="DESIGN", help="Pairs of each generator (default: 32 structures per appearance).")
@click.option(
    "--generator",
    metavar="RUN",
    help="Run whose generator makes the images of all points, although it saw others (default: one for each point).",
)
@click.option("--also", type=shared.PATH, metavar="DIR", help="Evaluate every model on another data set's test, too.")
@shared.overrides
@shared.engine("local: this process and all others on the same --out; ray: workers of a Ray cluster.")
@shared.ray_address
@shared.device
@shared.out("Output directory.", default="study")
@click.option("--dry-run", is_flag=True, help="Only count the models and estimate the time.")
@shared.force("Start over; discard the results in --out.")
@shared.as_json
def command(as_json: bool, dry_run: bool, **options: Any) -> None:
    """Measure how many real images the generated ones are worth.

    Trains re-id models on growing fractions of the real images: on real images only, with cheap augmentation, with
    generated images, with copies, and on embedded data with the true images. Run the same command again to resume.
    Started several times on the same --out, the processes share the work.

    \b
    Examples:
        dgaug study
        dgaug study --dry-run
        dgaug study --data ../Market-1501 --config market1501-cpu --fractions 0.2,0.5,1 --repeats 3
        torchrun --nproc-per-node 2 -m -- dgaug study --out study
        dgaug study --engine ray --out study
    """
    from dgaug.studies.learning_curve import study
    from dgaug.studies.metric_texts import study_notes, study_tables

    with progress_shown() as progress:
        results = study(dry_run=dry_run, progress=progress, **options)
    if as_json:
        show_json(results)
    elif dry_run:
        rows = [(name, f"{results[name]:,}") for name in ("generators", "trials", "models", "steps")]
        show_table("estimate", ("", "value"), [*rows, ("time in one process", f"at most {results['seconds']:,.0f} s")])
    else:
        for table in study_tables(results):
            show_table(*table)
        note(*study_notes(results), f"all metrics, the chart and the page: {options['out']}")
