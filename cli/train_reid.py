"""`dgaug train-reid`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.device import device_option


@click.command("train-reid")
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option("--data", type=click.Path(path_type=Path), help="Data set with query and gallery, instead of a run's.")
@click.option("--store", type=click.Path(path_type=Path), help="Store made from its training pictures.")
@click.option("--teacher", type=click.Path(path_type=Path), help="Makes the labels; default: stored, or the run's.")
@click.option("--config", metavar="NAME|FILE", help="Preset or YAML file; default: the run's settings.")
@click.option(
    "--feed",
    default="stored",
    show_default=True,
    metavar="KIND",
    help="none, stored, online (drawn afresh), both.",
)
@click.option(
    "--labels",
    metavar="POLICY",
    help="Default: the settings'. soft, appearance, structure, pseudo, lsro, mprl, two-soft or extra-class.",
)
@click.option(
    "--model",
    default="dgnet",
    show_default=True,
    metavar="NAME",
    help="dgnet (two heads), baseline (one), pcb or bot; --set model.backbone=NAME: any timm network below it.",
)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1), metavar="N", help="Repetitions.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="The first one; default: the settings'.")
@click.option("--twin/--no-twin", default=True, show_default=True, help="Also train the twins on real pictures only.")
@click.option("--identities-fraction", type=float, metavar="F", help="Use only this share of the training identities.")
@click.option("--images-per-identity", type=int, metavar="N", help="Use only so many training pictures of each.")
@click.option("--set", "overrides", multiple=True, metavar="section.name=value", help="Change one setting; repeat.")
@device_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of models and results; default: reid/ in the run.")
@click.option("--force", is_flag=True, help="Train again what is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool, **options: Any) -> None:
    """Train a re-id model with generated pictures beside its twin without, and evaluate both.

    \b
    Examples:
        dgaug train-reid
        dgaug train-reid --run runs/00001-market1501 --seeds 3
        dgaug train-reid --feed online --model bot --images-per-identity 2 --out reid-few
        dgaug train-reid --data ../Market-1501 --feed none --config market1501 --out reid-real-only
    """
    from dgaug.scores.twins import train_reid

    with progress_shown() as progress:
        results = train_reid(progress=progress, **options)
    if as_json:
        show_json(results)
        return
    show_reid(results)
    note(f"seeds: {len(results['protocol']['seeds'])}; {results['protocol']['evaluation']}")


def show_reid(results: dict[str, Any]) -> None:
    """The tables of `train-reid`: a row a variant, then what the generated pictures gave over each twin."""
    names = list(next(iter(results["summary"].values())))
    rows = [[variant, *(percent(figures[name]) for name in names)] for variant, figures in results["summary"].items()]
    show_table(f"re-identification (%, {seeds_text(results)})", ("training pictures", *names), rows)
    found = results["differences"]
    if found and len(results["protocol"]["seeds"]) > 1:
        rows = [[twin, *(difference(figures[name]) for name in names)] for twin, figures in found.items()]
        show_table("augmented minus twin, seed by seed (points, 95 % interval)", ("twin", *names), rows)


def percent(figure: dict[str, Any]) -> str:
    """Mean and spread in per cent."""
    spread = "" if figure["spread"] is None else f" ± {100 * figure['spread']:.1f}"
    return f"{100 * figure['mean']:.1f}{spread}"


def difference(figure: dict[str, Any]) -> str:
    """A paired difference with its interval, in points."""
    mean = f"{100 * figure['mean']:+.1f}"
    return mean if figure["low"] is None else f"{mean} [{100 * figure['low']:+.1f}, {100 * figure['high']:+.1f}]"


def seeds_text(results: dict[str, Any]) -> str:
    """How many seeds a table is of."""
    seeds = results["protocol"]["seeds"]
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"mean ± standard deviation over {len(seeds)} seeds"
