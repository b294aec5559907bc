"""`dgaug score-fid`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table


@click.command("score-fid")
@click.argument("target", required=False, type=click.Path(path_type=Path), metavar="[STORE|FOLDER]")
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option("--real", type=click.Path(path_type=Path), help="Data set to compare with; default: the run's.")
@click.option("--metrics", metavar="fid,kid,...", help="fid, kid, frechet, kernel, ssim, diversity, identity, oracle.")
@click.option("--protocol", default="clean", show_default=True, metavar="NAME", help="clean or published.")
@click.option("--inception-weights", metavar="FILE|download", help="FID Inception weights; download: fetch and check.")
@click.option("--encoder", metavar="NAME=FILE", help="A timm model and its weights, for a Fréchet distance of its own.")
@click.option("--teacher", type=click.Path(path_type=Path), help="Re-id checkpoint that judges identity.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of the samples.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results; default: scores/ in the run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(target: Path | None, metrics: str | None, protocol: str, as_json: bool, **options: object) -> None:
    """Measure generated pictures against the real training pictures.

    \b
    Without the FID Inception weights the Fréchet distance is named after the encoder that was used; `fid` asked for
    by name then says what to fetch.
    \b
    Examples:
        dgaug score-fid
        dgaug score-fid runs/00001-toy/store --metrics frechet,identity --json
        dgaug score-fid generated/ --real ../Market-1501 --metrics fid --inception-weights download
    """
    from dgaug.scores.quality import flat_scores, score_fid

    names = None if metrics is None else [name.strip() for name in metrics.split(",") if name.strip()]
    with progress_shown() as progress:
        result = score_fid(target, metrics=names, protocol=protocol, progress=progress, **options)
    if as_json:
        show_json(result)
        return
    scores = dict(result["scores"])
    oracle = scores.pop("oracle", None)
    rows = [(name, value) for name, value in flat_scores(scores).items()]
    show_table("quality", ("score", f"protocol: {protocol}"), rows)
    if oracle:
        table = [(name, *errors.values()) for name, errors in oracle.items()]
        columns = ("error against the true picture", "clothed body (grey levels)", "picture (grey levels)", "SSIM")
        show_table("oracle", columns, table)
    if "frechet_teacher" in scores:
        note("frechet_teacher: Fréchet distance in the run's own teacher, not FID; it compares only with itself")
