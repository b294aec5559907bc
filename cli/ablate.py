"""`dgaug ablate`."""

from __future__ import annotations

from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.train_reid import seeds_text

from dgaug.studies.metric_texts import difference, percent


@click.command("ablate")
@shared.data("Data set with query and gallery (default: the embedded data).")
@shared.config("Preset or YAML file (default: toy if --data is not given).")
@shared.seeds(default=3)
@shared.seed("Random seed of the generators and of the first re-id model.", default=None)
@shared.identities_fraction
@shared.images_per_identity
@click.option("--pairs", metavar="DESIGN", help="Pairs to generate (default: 32 structures per appearance).")
@shared.overrides
@shared.log
@shared.device
@shared.out("Output directory.", default="ablation")
@shared.force("Start over; discard the results in --out.")
@shared.as_json
def command(as_json: bool, **options: Any) -> None:
    """Measure what each part of the method contributes.

    Trains re-id models with the baseline, prim, fine or both, and with generators trained without feeding or without
    the identity loss. Each is compared with its twins: the same recipe trained on real images only, with the same
    seeds. Run the same command again to resume.

    \b
    Examples:
        dgaug ablate
        dgaug ablate --images-per-identity 2 --out ablation-few
        dgaug ablate --data ../Market-1501 --config market1501-cpu --seeds 5
    """
    from dgaug.studies.ablation import ablate

    with progress_shown() as progress:
        results = ablate(progress=progress, **options)
    if as_json:
        show_json(results)
        return
    names = list(results["table"][0]["figures"])
    rows = [[line["name"], *(percent(line["figures"][name]) for name in names)] for line in results["table"]]
    show_table(f"re-identification (%, {seeds_text(results)})", ("trained with", *names), rows)
    rows = [
        [line["name"], twin, *(difference(values[name]) for name in names)]
        for line in results["table"]
        for twin, values in line["minus"].items()
    ]
    show_table(
        "difference to the twin, paired by seed (percentage points, 95 % interval)",
        ("trained with", "twin", *names),
        rows,
    )
    note(f"metrics per seed, jointly trained encoders and the chart: {options['out']}")
