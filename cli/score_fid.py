"""`dgaug score-fid`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.device import device_option

METRICS = (
    "fid, kid (FID's Inception); frechet, kernel (another encoder); precision, duplicates (any encoder); ssim, "
    "diversity, structure, variance, identity, teacher, oracle (stores)."
)
ORACLE = ("clothed body (grey levels)", "picture (grey levels)", "SSIM", "clothed body (Delta E)", "picture (Delta E)")
TABLES = ("oracle", "structure")


@click.command("score-fid")
@click.argument("target", required=False, type=click.Path(path_type=Path), metavar="[STORE|FOLDER]")
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option(
    "--real",
    type=click.Path(path_type=Path),
    help="Data set, folder, manifest, store or npz to compare with; default: the run's data.",
)
@click.option("--metrics", metavar="fid,kid,...", help=METRICS)
@click.option("--protocol", default="clean", show_default=True, metavar="NAME", help="clean or published.")
@click.option("--inception-weights", metavar="FILE|download", help="FID Inception weights; download: fetch and check.")
@click.option("--encoder", metavar="NAME=FILE", help="A timm model and its weights, for a Fréchet distance of its own.")
@click.option("--teacher", type=click.Path(path_type=Path), help="The labels' teacher; default: the run's.")
@click.option(
    "--judge", metavar="FILE|NAME=FILE", help="Independent judge of identity: re-id checkpoint, or timm model."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of the samples.")
@click.option(
    "--workers", type=click.IntRange(min=0), metavar="N", help="Threads that read images beside the main one."
)
@device_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results; default: scores/ in the run.")
@click.option("--force", is_flag=True, help="Throw away the results and statistics that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(target: Path | None, metrics: str | None, protocol: str, as_json: bool, **options: object) -> None:
    """Measure generated pictures against the real training pictures.

    \b
    Without the FID Inception weights the Fréchet distance is named after the encoder that was used; `fid` asked for
    by name then says what to fetch. The same command goes on where it was stopped; docs/scores.md explains the figures.
    \b
    Examples:
        dgaug score-fid
        dgaug score-fid runs/00001-toy/store --metrics frechet,identity --judge reid.pt --json
        dgaug score-fid generated/ --real ../Market-1501 --metrics fid --inception-weights download --out scores
    """
    from dgaug.scores.quality import score_fid

    names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    with progress_shown() as progress:
        result = score_fid(target, metrics=names, protocol=protocol, progress=progress, **options)
    if as_json:
        show_json(result)
        return
    show_scores(result)
    if "frechet_teacher" in result["scores"]:
        note("frechet_teacher: Fréchet distance in the run's own teacher, not FID; it compares only with itself")
    if result["protocol"]["judge"] is None and "identity_is_appearance" in result["scores"]:
        note("identity_is_...: the opinion of the teacher, which made the labels; --judge asks an independent one")


def show_scores(result: dict[str, Any]) -> None:
    """The tables of `score-fid`: one figure a row, then those that are tables themselves."""
    from dgaug.scores.meanings import good
    from dgaug.scores.results import flat

    scores, head = dict(result["scores"]), f"protocol: {result['protocol']['name']}"
    tables = {name: scores.pop(name) for name in TABLES if name in scores}
    by_count = {name: scores.pop(name) for name in list(scores) if name.endswith("_by_count")}
    if scores:
        rows = [(name, value, good(name, scores)) for name, value in flat(scores).items()]
        show_table("quality", ("score", head, "good"), rows)
    for name, counts in by_count.items():
        columns = (f"pictures on each side ({head})", "generated against real", "real against real")
        rows = [(int(count), found["generated"], found["real"]) for count, found in counts.items()]
        show_table(name.removesuffix("_by_count"), columns, rows)
    if "oracle" in tables:
        rows = [(name, *errors.values()) for name, errors in tables["oracle"].items()]
        show_table("oracle", (f"against the true picture ({head})", *ORACLE), rows)
    if "structure" in tables:
        rows = [(name, *likeness.values()) for name, likeness in tables["structure"].items()]
        columns = ("grey SSIM", "grey correlation", "edge correlation")
        show_table("structure", (f"generated picture against ({head})", *columns), rows)
