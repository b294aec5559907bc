"""`dgaug score-fid`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json, show_table

METRICS = (
    "fid, kid (FID Inception); frechet, kernel (another encoder); precision, duplicates (any encoder); ssim, "
    "diversity, structure, variance, identity, teacher, oracle (stores only)."
)
ORACLE = ("clothed body (grey levels)", "image (grey levels)", "SSIM", "clothed body (Delta E)", "image (Delta E)")
TABLES = ("oracle", "structure")


@click.command("score-fid")
@click.argument("target", required=False, type=shared.PATH, metavar="[STORE|FOLDER]")
@shared.run
@click.option(
    "--real",
    type=shared.PATH,
    help="Real images: data set, folder, manifest, store or npz (default: the data of the run).",
)
@click.option("--metrics", metavar="fid,kid,...", help=METRICS)
@click.option("--protocol", default="clean", show_default=True, metavar="NAME", help="clean or published.")
@click.option(
    "--inception-weights", metavar="FILE|download", help="FID Inception weights; download: fetch and check them."
)
@click.option(
    "--encoder", metavar="NAME=FILE", help="timm model and its weights, for a Fréchet distance named after it."
)
@click.option("--teacher", type=shared.PATH, help="Teacher of the labels (default: that of the run).")
@click.option(
    "--judge", metavar="FILE|NAME=FILE", help="Independent judge of identity: re-id checkpoint or timm model."
)
@shared.seed("Random seed of the samples.")
@click.option("--workers", type=shared.NOT_NEGATIVE, metavar="N", help="Number of additional threads that read images.")
@shared.device
@shared.out("Output directory (default: scores/ in the run).")
@shared.force("Start over; discard the results and cached statistics.")
@shared.as_json
def command(target: Path | None, metrics: str | None, protocol: str, as_json: bool, **options: object) -> None:
    """Measure generated images against real training images.

    Without the FID Inception weights the Fréchet distance is named after the encoder in use. `--metrics fid` without
    these weights is an error that names the file. Run the same command again to resume. The metrics are explained in
    docs/scores.md.

    \b
    Examples:
        dgaug score-fid
        dgaug score-fid runs/00001-toy/store --metrics frechet,identity --judge reid.pt --json
        dgaug score-fid generated/ --real ../Market-1501 --metrics fid --inception-weights download --out scores
    """
    from dgaug.scores.quality.score import score_fid

    names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    with progress_shown() as progress:
        result = score_fid(target, metrics=names, protocol=protocol, progress=progress, **options)
    if as_json:
        show_json(result)
        return
    show_scores(result)
    if "frechet_teacher" in result["scores"]:
        note("frechet_teacher: Fréchet distance in features of the run's teacher, not FID; compare it only with itself")
    if result["protocol"]["judge"] is None and "identity_is_appearance" in result["scores"]:
        note("identity_is_...: judged by the teacher that produced the labels; --judge names an independent judge")


def show_scores(result: dict[str, Any]) -> None:
    """Print the tables of `score-fid`: one metric per row, then the metrics that are tables themselves."""
    from dgaug.scores.quality.metrics import good
    from dgaug.scores.quality.results import flat

    scores, head = dict(result["scores"]), f"protocol: {result['protocol']['name']}"
    tables = {name: scores.pop(name) for name in TABLES if name in scores}
    by_count = {name: scores.pop(name) for name in list(scores) if name.endswith("_by_count")}
    if scores:
        rows = [(name, value, good(name, scores)) for name, value in flat(scores).items()]
        show_table("quality", ("score", head, "good"), rows)
    for name, counts in by_count.items():
        columns = (f"images per side ({head})", "generated vs. real", "real vs. real")
        rows = [(int(count), found["generated"], found["real"]) for count, found in counts.items()]
        show_table(name.removesuffix("_by_count"), columns, rows)
    if "oracle" in tables:
        rows = [(name, *errors.values()) for name, errors in tables["oracle"].items()]
        show_table("oracle", (f"error to the true image ({head})", *ORACLE), rows)
    if "structure" in tables:
        rows = [(name, *likeness.values()) for name, likeness in tables["structure"].items()]
        columns = ("grey SSIM", "grey correlation", "edge correlation")
        show_table("structure", (f"generated image vs. ({head})", *columns), rows)
