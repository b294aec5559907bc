"""`dgaug ablate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.device import device_option
from dgaug_cli.train_reid import difference, percent, seeds_text


@click.command("ablate")
@click.option("--data", type=click.Path(path_type=Path), help="Data set with query and gallery; default: embedded.")
@click.option("--config", metavar="NAME|FILE", help="Preset or YAML file; default: toy without --data.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(min=1), metavar="N", help="Re-id models.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Of generators and first models.")
@click.option("--identities-fraction", type=float, metavar="F", help="Only this share of the training identities.")
@click.option("--images-per-identity", type=int, metavar="N", help="Only so many training pictures of each.")
@click.option("--pairs", metavar="DESIGN", help="What a generator makes; default: 32 structures for each appearance.")
@click.option("--set", "overrides", multiple=True, metavar="section.name=value", help="Change one setting; repeat.")
@device_option
@click.option("--out", default="ablation", show_default=True, type=click.Path(path_type=Path), help="Folder of all.")
@click.option("--force", is_flag=True, help="Start over.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool, **options: Any) -> None:
    """What each part gives: baseline, prim, fine, both; and generators trained without feeding or identity.

    Every line stands beside its twin on real pictures, with as many seeds, and goes on where it stopped.

    \b
    Examples:
        dgaug ablate
        dgaug ablate --images-per-identity 2 --out ablation-few
        dgaug ablate --data ../Market-1501 --config market1501-cpu --seeds 5
    """
    from dgaug.scores.ablation import ablate

    with progress_shown() as progress:
        results = ablate(progress=progress, **options)
    if as_json:
        show_json(results)
        return
    names = list(results["table"][0]["figures"])
    rows = [[line["name"], *(percent(line["figures"][name]) for name in names)] for line in results["table"]]
    show_table(f"re-identification (%, {seeds_text(results)})", ("trained with", *names), rows)
    rows = [
        [line["name"], twin, *(difference(figures[name]) for name in names)]
        for line in results["table"]
        for twin, figures in line["minus"].items()
    ]
    show_table("minus its twin, seed by seed (points, 95 % interval)", ("trained with", "twin", *names), rows)
    note(f"figures by seed, encoders trained along and the chart: {options['out']}")
