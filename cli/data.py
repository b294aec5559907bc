"""`dgaug data`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import NOTES, note, progress_shown, show_json, show_table


@click.group("data", cls=shared.Group)
def command() -> None:
    """Create, check or convert a data set.

    \b
    Example:
        dgaug data check ../Market-1501
    """


@command.command("toy")
@click.argument("out", type=shared.PATH)
@click.option(
    "--identities",
    default=32,
    show_default=True,
    type=int,
    metavar="N",
    help="Training identities; the test split has the same number of others.",
)
@click.option(
    "--images-per-identity", default=8, show_default=True, type=int, metavar="N", help="Training images per identity."
)
@click.option("--cameras", default=6, show_default=True, type=int, metavar="N", help="Number of cameras.")
@click.option("--size", default="128x64", show_default=True, metavar="HxW", help="Image height x width in pixels.")
@shared.seed("Random seed.")
def toy(out: Path, size: str, **world: int) -> None:
    """Render procedural pedestrians in Market-1501 layout.

    \b
    Example:
        dgaug data toy pedestrians --identities 50 --size 256x128
    """
    from dgaug.data.toy import write_toy

    height, cross, width = size.lower().partition("x")
    if not (cross and height.isdigit() and width.isdigit()):
        raise click.BadParameter(f"--size {size!r}: expected HxW, such as 128x64")
    with progress_shown() as progress:
        write_toy(
            out,
            size=(int(height), int(width)),
            on_image=lambda done, total: progress("rendering images", done, total),
            **world,
        )
    note(f"wrote {out}")


@command.command("check")
@click.argument("folder", type=shared.PATH, metavar="DIR")
@shared.layout
@shared.pattern
@shared.cameras
@shared.depth()
@shared.as_json
@click.pass_context
def check(context: click.Context, folder: Path, depth: str, as_json: bool, **reading: Any) -> None:
    """Report counts, cameras and damaged files of a data set.

    Ends with the training command for it, and how long that takes here, from a few seconds of timed iterations.

    Exit code 1: at least one image is damaged.

    \b
    Examples:
        dgaug data check ../Market-1501 --json
        dgaug data check photos --pattern '(?P<identity>[a-z]+)_[0-9]+'
    """
    from dgaug.data.check import check_data, who_was_read
    from dgaug.data.layouts import open_data
    from dgaug.data.prepare import with_levels
    from dgaug.data.summary import summary
    from dgaug.errors import DgaugError
    from dgaug.training.planner import plan_for

    data = with_levels(open_data(folder, **reading), depth)
    note(summary(data), *data.notes)
    with progress_shown() as progress:
        report = check_data(data, progress=progress)
    content = report.to_json()
    if not as_json:
        columns = ("split", "images", "identities", "cameras", "junk", "distractors", "damaged")
        rows = [[split, *(counts[name] for name in columns[1:])] for split, counts in content["splits"].items()]
        show_table(f"{folder} ({content['layout']})", columns, rows)
        note(*who_was_read(data), *report.problems)
    if as_json or not NOTES.quiet:
        damaged = report.damaged_train
        try:
            with progress_shown() as progress:
                plan = plan_for(data, folder, reading=reading, depth=depth, damaged=damaged, progress=progress)
            planned, lines = plan.described(), plan.lines()
        except DgaugError as error:
            planned, lines = {"command": None, "remarks": [str(error)]}, [f"no training command: {error}"]
        if as_json:
            show_json(content | {"next": planned})
        else:
            note(*lines)
    if report.has_damage:
        context.exit(1)


@command.command("pack")
@click.argument("folder", type=shared.PATH, metavar="DIR")
@shared.out("Manifest file (default: manifest.csv in DIR).", kind=shared.FILE)
@shared.pattern
@click.option(
    "--hold-out", type=int, metavar="N", help="Put N training identities into query and gallery, to evaluate models."
)
@shared.seed("Random seed of the choice of identities to hold out.")
@shared.force("Overwrite an existing manifest.")
def pack(folder: Path, out: Path | None, pattern: str | None, hold_out: int | None, seed: int, force: bool) -> None:
    """Write a CSV manifest of a data set.

    Its columns are path, identity, camera and split. A manifest.csv in DIR is what all commands read from then on.

    \b
    Examples:
        dgaug data pack photos --pattern '(?P<identity>[a-z]+)_[0-9]+'
        dgaug data pack crops --hold-out 2
    """
    from dgaug.data.layouts import open_data
    from dgaug.data.manifest import MANIFEST_NAME, pack
    from dgaug.data.summary import summary

    manifest = out or folder / MANIFEST_NAME
    data = open_data(folder, pattern=pattern)
    if hold_out is not None:
        from dgaug.data import prepare

        data = prepare.hold_out(data, hold_out, seed=seed)
    pack(data, manifest, force=force)
    note(f"wrote {manifest}", *data.notes, *([summary(data)] if hold_out is not None else []))
    if pattern is not None:
        note(f"to use it, give --data {folder if out is None else out} without a pattern, which would read the names")
