"""`dgaug synthesize`."""

from __future__ import annotations

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json, show_table


@click.command("synthesize")
@shared.run
@click.option("--checkpoint", type=shared.PATH, help="DG-Net checkpoint to use instead of that of a run.")
@shared.data("Data set whose training images are the donors (default: that of the run).")
@click.option(
    "--teacher",
    metavar="PATH|none",
    help="Re-id checkpoint that produces the soft labels, or none for no labels (default: the run's teacher).",
)
@click.option(
    "--pairs",
    default="all",
    show_default=True,
    metavar="DESIGN",
    help="all, cross-identity, cross-camera, random:K, per-appearance:K, grid:AxB or csv:FILE.",
)
@click.option(
    "--codec",
    default="jpeg",
    show_default=True,
    type=click.Choice(["jpeg", "png", "raw", "codes"]),
    help="How images are stored; codes: as latent codes, decoded when read.",
)
@click.option(
    "--quality", default=90, show_default=True, type=click.IntRange(1, 100), metavar="Q", help="JPEG quality."
)
@click.option("--labels-dense", is_flag=True, help="Store the probabilities of all classes instead of the top ten.")
@click.option(
    "--min-confidence",
    default=0.0,
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Leave out images whose highest class probability is below P.",
)
@click.option("--shard-size", type=click.IntRange(min=1), metavar="N", help="Images per shard.")
@shared.seed("Random seed of the pair designs that sample.")
@click.option(
    "--precision",
    default="fp32",
    show_default=True,
    type=click.Choice(["fp32", "bf16", "bf16-labels"]),
    help="bf16: decoder in bfloat16; bf16-labels: teacher too.",
)
@shared.out("Store folder (default: store/ in the run).")
@shared.engine("local: this process, or all processes of torchrun; ray: tasks of a Ray cluster.")
@shared.ray_address
@shared.device
@click.option("--add", is_flag=True, help="Add these pairs to the existing store.")
@click.option("--dry-run", is_flag=True, help="Only estimate the number of images, size and time.")
@click.option("--yes", is_flag=True, help="Proceed even if the estimated size exceeds free disk space.")
@shared.force("Start over; discard the existing store.")
@shared.as_json
def command(dry_run: bool, as_json: bool, **options: object) -> None:
    """Write the N x N images and soft labels to an HDF5 store.

    Every appearance is combined with every structure, or with those that --pairs selects. Run the same command again
    to resume.

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
        rows = [("images", f"{plan.pairs:,}"), ("size", f"about {plan.bytes / 1e9:,.3f} GB")]
        rows += [("remaining", f"about {plan.to_write / 1e9:,.3f} GB (with temporary files)")]
        rows += [("time on this machine", f"about {plan.seconds:,.0f} s"), ("free disk", f"{plan.free / 1e9:,.1f} GB")]
        show_table(f"estimate for {made.store}", ("", "value"), rows)
    else:
        word = "already complete: " if made.already_complete else ""
        note(f"{word}{made.count:,} images in {made.store / 'dataset.h5'}", f"next: dgaug score-fid {made.store}")
