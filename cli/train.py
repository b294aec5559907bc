"""`dgaug train`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note, progress_shown, show_json
from dgaug_cli.device import device_option


@click.command("train")
@click.option("--data", type=click.Path(path_type=Path), help="Data set in any known layout; without it: embedded.")
@click.option(
    "--config",
    metavar="NAME|FILE",
    help="Preset (dgaug config list) or YAML file; default: toy without --data, else as market1501.",
)
@click.option("--set", "overrides", multiple=True, metavar="section.name=value", help="Change one setting; repeat.")
@click.option("--out", type=click.Path(path_type=Path), help="The run folder; default: the next number under runs/.")
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Re-id checkpoint to use as teacher; repeat to average the soft labels of several.",
)
@click.option("--resume", is_flag=True, help="Go on with --out, or with the newest run.")
@click.option("--seed", type=int, help="Seed of the run.")
@click.option("--limit-identities", type=int, metavar="N", help="Use the first N training identities only.")
@click.option("--depth", type=click.Choice(["auto", "full"]), help="16-bit images: the data set's range, or all bits.")
@device_option
@click.option("--compile", is_flag=True, help="Compile the networks.")
@click.option("--from-scratch", is_flag=True, help="Ignore the pretrained generator of the embedded data.")
@click.option("--force", is_flag=True, help="Throw away what --out holds and start over.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    data: Path | None,
    config: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
    teachers: tuple[Path, ...],
    resume: bool,
    seed: int | None,
    limit_identities: int | None,
    depth: str | None,
    device: str,
    compile: bool,
    from_scratch: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Train a teacher, then DG-Net.

    \b
    Examples:
        dgaug train
        dgaug train --data ../Market-1501 --config market1501
        dgaug train --resume --out runs/00001-market1501
        torchrun --nproc-per-node 4 -m dgaug train --data ../Market-1501 --config market1501
    """
    from dgaug.training.train import train

    with progress_shown() as progress:
        run = train(
            data,
            config,
            overrides=overrides,
            out=out,
            teacher=teachers or None,
            resume=resume,
            seed=seed,
            limit_identities=limit_identities,
            depth=depth,
            device=device,
            compile=compile,
            from_scratch=from_scratch,
            force=force,
            progress=progress,
        )
    if as_json:
        show_json({"run": str(run.folder), "checkpoint": str(run.checkpoint), "teacher": str(run.teacher)})
    else:
        note(f"run: {run.folder}", f"next: dgaug synthesize --pairs all --run {run.folder}")
