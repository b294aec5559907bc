"""`dgaug demo`."""

from __future__ import annotations

import time
from pathlib import Path

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.device import device_option
from dgaug_cli.train_reid import show_reid


@click.command("demo")
@click.option("--out", default="demo", show_default=True, type=click.Path(path_type=Path), help="The run folder.")
@click.option("--set", "overrides", multiple=True, metavar="section.name=value", help="Change one setting; repeat.")
@click.option("--seed", type=int, help="Seed of the run.")
@click.option("--from-scratch", is_flag=True, help="Ignore the pretrained generator that ships.")
@device_option
@click.option("--force", is_flag=True, help="Start over.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    out: Path, overrides: tuple[str, ...], seed: int | None, from_scratch: bool, device: str, force: bool, as_json: bool
) -> None:
    """Run the main job on the embedded data: train, synthesize, score, re-id with and without.

    \b
    Examples:
        dgaug demo
        dgaug demo --out again --seed 1
    """
    from dgaug.device import use_device
    from dgaug.errors import Interrupted
    from dgaug.scores.held_out import require_cameras
    from dgaug.scores.quality import score_fid
    from dgaug.scores.twins import train_reid
    from dgaug.settings import load_settings
    from dgaug.synthesis.drawing import draw_grid
    from dgaug.synthesis.job import synthesize
    from dgaug.training.train import train

    began = time.monotonic()
    require_cameras(load_settings("toy", overrides=overrides))
    try:
        with use_device(device), progress_shown() as progress:
            run = train(
                out=out, overrides=overrides, seed=seed, from_scratch=from_scratch, force=force, progress=progress
            )
            made = synthesize(run.folder, progress=progress)
            scores = score_fid(run=run.folder, progress=progress)
            results = train_reid(run.folder, progress=progress)
            grid = draw_grid(run.folder)
    except Interrupted as stopped:
        raise Interrupted(stopped.signal_number, f"the same command goes on: dgaug demo --out {out}") from None
    pictures = {"N x N picture": grid, "pairs beside their true pictures": run.scores / "pairs.png"}
    if as_json:
        paths = {name: str(path) for name, path in pictures.items()}
        show_json({"run": str(run.folder), "scores": scores, "reid": results, "pictures": paths})
        return
    quality = scores["scores"]
    oracle = [(name, errors["clothed_body"], errors["ssim"]) for name, errors in quality["oracle"].items()]
    columns = ("picture of a pair", "error on the clothed body (grey levels)", "SSIM to the true picture")
    show_table("quality against the true pictures", columns, oracle)
    names = ("frechet_teacher", "identity_is_appearance", "identity_is_structure", "ssim_self_reconstruction")
    show_table("quality without them", ("score", "clean"), [(name, quality[name]) for name in names if name in quality])
    show_reid(results)
    note(f"{made.count:,} pictures in {made.store / 'dataset.h5'}; {time.monotonic() - began:,.0f} s")
    for name, path in pictures.items():
        note(f"{name}: {path}")
    note(f"next: dgaug report {out}")
