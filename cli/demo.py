"""`dgaug demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.train_reid import show_reid

if TYPE_CHECKING:
    from dgaug.runs import Run

NEXT = (
    "    dgaug data check DIR",
    "    dgaug train --data DIR --config market1501-cpu   (or the command that data check ends with)",
    "    dgaug synthesize --pairs per-appearance:10   (or all, of a few hundred images)",
)
ITERATIONS = 200
"""Of DG-Net, from the generator that ships: the error on the clothed body is then 0.84 of that of the copied appearance
donor, SSIM 0.507. The preset's 700 take three times as long and reach 0.81 and 0.525, on another sample of pairs."""
STRUCTURES = 64
"""Of the demo's store: of all 192, three times as many images would take three times as long, and say the same."""


@click.command("demo")
@shared.out("Run folder.", default="demo")
@shared.overrides
@shared.run_seed
@shared.from_scratch
@shared.log
@shared.device
@shared.force("Start over; discard the run in --out.")
@shared.as_json
def command(out: Path, overrides: tuple[str, ...], device: str, as_json: bool, **options: Any) -> None:
    """Run the whole job on the embedded data.

    Trains DG-Net, synthesizes N x N images, scores them, trains re-id models with and without them, and writes the
    report page. Run the same command again to resume.

    \b
    Examples:
        dgaug demo
        dgaug demo --out again --seed 1
    """
    from dgaug.device import use_device
    from dgaug.errors import Interrupted
    from dgaug.report.page import report_run
    from dgaug.runs import Run
    from dgaug.scores.quality.score import score_fid
    from dgaug.scores.retrieval.held_out import require_cameras
    from dgaug.settings import load_settings
    from dgaug.studies.train_reid import train_reid
    from dgaug.synthesis.draw import draw_grid
    from dgaug.synthesis.job import synthesize
    from dgaug.training.train import train

    began = time.monotonic()
    shorter = _shorter(Run(out), from_scratch=options["from_scratch"], force=options["force"])
    overrides = (*shorter, *overrides)
    settings = load_settings("toy", overrides=overrides)
    require_cameras(settings)
    stages = _Stages()
    try:
        with use_device(device), progress_shown(lines=False) as progress:
            run = train(out=out, overrides=overrides, progress=progress, **options)
            iterations = f"{settings.teacher.iterations:,} iterations of the teacher, {settings.schedule.iterations:,}"
            stages.end("trained", f"{iterations} of DG-Net")
            made = synthesize(run.folder, pairs=_pairs(run), progress=progress)
            stages.end("synthesized", f"{made.count:,} images in {made.store / 'dataset.h5'}")
            scores = score_fid(run=run.folder, progress=progress)
            stages.end("scored", f"{len(scores['scores'])} metrics in {run.scores}")
            results = train_reid(run.folder, progress=progress)
            stages.end("compared", f"{len(results['runs'])} re-id models of {settings.reid.iterations:,} steps")
            grid = draw_grid(run.folder)
            page = report_run(run.folder, progress=progress)
    except Interrupted as stopped:
        raise Interrupted(
            stopped.signal_number, f"run the same command again to resume: dgaug demo --out {out}"
        ) from None
    images = {"N x N grid": grid, "generated beside true images": run.scores / "pairs.png"}
    if as_json:
        paths = {name: str(path) for name, path in images.items()}
        content = {"run": str(run.folder), "scores": scores, "reid": results, "pictures": paths, "report": str(page)}
        show_json(content)
        return
    quality = scores["scores"]
    oracle = [(name, errors["clothed_body"], errors["ssim"]) for name, errors in quality["oracle"].items()]
    columns = ("image of a pair", "error on the clothed body (grey levels)", "SSIM to the true image")
    show_table("quality, measured against the true images", columns, oracle)
    names = ("frechet_teacher", "identity_is_appearance", "identity_is_structure", "ssim_self_reconstruction")
    show_table(
        "quality, measured without them",
        ("score", "clean"),
        [(name, quality[name]) for name in names if name in quality],
    )
    show_reid(results)
    note(f"{time.monotonic() - began:,.0f} s in all")
    for name, path in {**images, "report page": page}.items():
        note(f"{name}: {path}")
    note("next, with images of your own:", *NEXT)


def _shorter(run: Run, *, from_scratch: bool, force: bool) -> list[str]:
    """The settings of a demo where they are not the preset's; those of a run that has begun stay."""
    if run.config.is_file() and not force:
        return [f"schedule.iterations={run.settings().schedule.iterations}"]
    return [] if from_scratch else [f"schedule.iterations={ITERATIONS}"]


def _pairs(run: Run) -> str:
    """Every appearance on `STRUCTURES` structures, or what the store of an earlier demo has."""
    from dgaug.data.recorded import read_run_data
    from dgaug.store.index import read_state

    state = read_state(run.store)
    if state is not None:
        return state.spec.parts[0].pairs
    images = len(read_run_data(run, run.settings().data, splits=("train",)).splits["train"])
    return f"grid:{images}x{min(STRUCTURES, images)}"


class _Stages:
    """One line for each stage, with its seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def end(self, done: str, what: str) -> None:
        """Show the stage that has ended; the next one begins."""
        now = time.monotonic()
        note(f"{done} in {now - self._began:,.0f} s: {what}")
        self._began = now
