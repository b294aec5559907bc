"""`dgaug train-reid`."""

from __future__ import annotations

from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json, show_table

from dgaug.studies.metric_texts import difference, percent


@click.command("train-reid")
@shared.run
@shared.data("Data set with query and gallery, used instead of a run.")
@click.option("--store", type=shared.PATH, help="Store generated from the training images of the data set.")
@click.option(
    "--teacher",
    type=shared.PATH,
    help="Re-id checkpoint that produces the soft labels (default: the stored labels, else the run's teacher).",
)
@shared.config("Preset or YAML file (default: the settings of the run).")
@click.option(
    "--feed",
    default="stored",
    show_default=True,
    metavar="KIND",
    help="Generated images: none, stored, online (generated during training) or both.",
)
@click.option(
    "--labels",
    metavar="POLICY",
    help="soft, appearance, structure, pseudo, lsro, mprl, two-soft, extra-class, or trust with --select (default: of "
    "the settings).",
)
@click.option(
    "--select",
    metavar="HOW:FILE,keep=F",
    help="Use only the fraction F of each identity's generated images. HOW: judge (those that the independent re-id "
    "checkpoint FILE recognises best), diversity (those furthest apart in its features) or both.",
)
@click.option(
    "--model",
    default="dgnet",
    show_default=True,
    metavar="NAME",
    help="dgnet (two heads), baseline (one head), pcb or bot; --set model.backbone=NAME for any timm backbone.",
)
@shared.seeds(default=1)
@shared.seed("Random seed of the first model (default: that of the settings).", default=None)
@click.option("--twin/--no-twin", default=True, show_default=True, help="Also train the twins, on real images only.")
@shared.identities_fraction
@shared.images_per_identity
@shared.overrides
@shared.log
@shared.device
@shared.out("Output directory (default: reid/ in the run).")
@shared.force("Start over; discard the models and results in --out.")
@shared.as_json
def command(as_json: bool, **options: Any) -> None:
    """Train and evaluate a re-id model and its real-only twins.

    The model is trained with generated images. A twin is the same recipe trained on real images only: one twin has
    the same number of steps and the same batch size, the other sees the same number of real images. Run the same
    command again to resume.

    \b
    Examples:
        dgaug train-reid
        dgaug train-reid --run runs/00001-market1501 --seeds 3
        dgaug train-reid --feed online --model bot --images-per-identity 2 --out reid-few
        dgaug train-reid --data ../Market-1501 --feed none --config market1501 --out reid-real-only
    """
    from dgaug.studies.train_reid import train_reid

    with progress_shown() as progress:
        results = train_reid(progress=progress, **options)
    if as_json:
        show_json(results)
        return
    show_reid(results)
    for chosen in results["protocol"].get("select", []):
        how = chosen.get("by", "judge")
        note(f"selected by {how}: {chosen['kept']:,} images kept, {chosen['left_out']:,} left out")
    note(f"seeds: {len(results['protocol']['seeds'])}; {results['protocol']['evaluation']}")


def show_reid(results: dict[str, Any]) -> None:
    """Print the tables of `train-reid`: one row per variant, then the differences to each twin."""
    names = list(next(iter(results["summary"].values())))
    rows = [[variant, *(percent(values[name]) for name in names)] for variant, values in results["summary"].items()]
    show_table(f"re-identification (%, {seeds_text(results)})", ("training images", *names), rows)
    differences = results["differences"]
    if differences and len(results["protocol"]["seeds"]) > 1:
        rows = [[twin, *(difference(values[name]) for name in names)] for twin, values in differences.items()]
        show_table("augmented minus twin, paired by seed (percentage points, 95 % interval)", ("twin", *names), rows)


def seeds_text(results: dict[str, Any]) -> str:
    """The seed, or the number of seeds, of a table."""
    seeds = results["protocol"]["seeds"]
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"mean ± standard deviation over {len(seeds)} seeds"
