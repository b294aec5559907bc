"""`dgaug synthesize`."""

from __future__ import annotations

from pathlib import Path

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.device import device_option


@click.command("synthesize")
@click.option("--run", default="latest", show_default=True, metavar="RUN", help="Run folder, its number, or latest.")
@click.option("--checkpoint", type=click.Path(path_type=Path), help="DG-Net checkpoint instead of a run's.")
@click.option("--data", type=click.Path(path_type=Path), help="Data set whose training pictures are the donors.")
@click.option("--teacher", metavar="PATH|none", help="Re-id checkpoint for soft labels; none: no labels.")
@click.option(
    "--pairs",
    default="all",
    show_default=True,
    metavar="DESIGN",
    help="all, cross-identity, cross-camera, random:K, per-appearance:K, grid:AxB or csv:FILE.",
)
@click.option("--codec", default="jpeg", show_default=True, type=click.Choice(["jpeg", "png", "raw", "codes"]))
@click.option("--quality", default=90, show_default=True, type=click.IntRange(1, 100), help="JPEG quality.")
@click.option("--labels-dense", is_flag=True, help="Store the probability of every class, not the top ten.")
@click.option("--min-confidence", default=0.0, type=click.FloatRange(0, 1), help="Leave out less certain pictures.")
@click.option("--shard-size", type=click.IntRange(min=1), metavar="N", help="Pictures per shard.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Seed of the designs that choose."
)
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    type=click.Choice(["fp32", "bf16", "bf16-labels"]),
    help="bf16: of the decoder; bf16-labels: of the teacher too.",
)
@click.option("--out", type=click.Path(path_type=Path), help="The store; default: store/ in the run.")
@click.option(
    "--engine",
    default="local",
    show_default=True,
    type=click.Choice(["local", "ray"]),
    help="This process (or all that torchrun started), or the tasks of a Ray cluster.",
)
@click.option(
    "--ray-address", metavar="HOST:PORT", help="A running Ray cluster; default: RAY_ADDRESS, or one started here."
)
@device_option
@click.option("--add", is_flag=True, help="Add these pairs to the store that is there.")
@click.option("--dry-run", is_flag=True, help="Only say how many pictures, how large, how long.")
@click.option("--yes", is_flag=True, help="Go on although the disk looks too small.")
@click.option("--force", is_flag=True, help="Throw away the store that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(dry_run: bool, as_json: bool, **options: object) -> None:
    """Write the N x N data set: every appearance on every structure, with soft labels, in HDF5.

    \b
    Examples:
        dgaug synthesize --pairs all
        dgaug synthesize --run runs/00001-market1501 --pairs per-appearance:10 --dry-run
        dgaug synthesize --pairs random:100000 --add
        torchrun --nproc-per-node 4 -m -- dgaug synthesize --pairs all
        dgaug synthesize --pairs all --engine ray --ray-address 10.0.0.1:6379
    """
    from dgaug.synthesis.job import synthesize

    with progress_shown() as progress:
        made = synthesize(dry_run=dry_run, progress=progress, **options)
    plan = made.plan
    if as_json:
        show_json(
            {
                "store": str(made.store),
                "pairs": plan.pairs,
                "bytes_estimated": plan.bytes,
                "bytes_to_write": plan.to_write,
                "seconds_estimated": plan.seconds,
                "bytes_free": plan.free,
                "count": made.count,
                "already_complete": made.already_complete,
            }
        )
    elif dry_run:
        rows = [("pictures", f"{plan.pairs:,}"), ("size", f"about {plan.bytes / 1e9:,.3f} GB")]
        rows += [("still to write", f"about {plan.to_write / 1e9:,.3f} GB (with working files)")]
        rows += [("time here", f"about {plan.seconds:,.0f} s"), ("free disk", f"{plan.free / 1e9:,.1f} GB")]
        show_table(f"plan of {made.store}", ("", "estimate"), rows)
    else:
        word = "already complete: " if made.already_complete else ""
        note(f"{word}{made.count:,} pictures in {made.store / 'dataset.h5'}", f"next: dgaug score-fid {made.store}")
