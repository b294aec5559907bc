"""`dgaug data`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.group import Group


@click.group("data", cls=Group)
def command() -> None:
    """Write the embedded data set, check any data set, or convert it to a manifest.

    \b
    Example:
        dgaug data check ../Market-1501
    """


@command.command("toy")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--identities", default=32, show_default=True, type=int, help="Training identities; as many for testing.")
@click.option("--images-per-identity", default=8, show_default=True, type=int, help="Training pictures of each.")
@click.option("--cameras", default=6, show_default=True, type=int)
@click.option("--size", default="128x64", show_default=True, metavar="HxW", help="Height x width in pixels.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
def toy(out: Path, identities: int, images_per_identity: int, cameras: int, size: str, seed: int) -> None:
    """Draw procedural pedestrians in Market-1501 layout.

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
            identities=identities,
            images_per_identity=images_per_identity,
            cameras=cameras,
            size=(int(height), int(width)),
            seed=seed,
            on_picture=lambda done, total: progress("drawing", done, total),
        )
    note(f"wrote {out}")


@command.command("check")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--layout", default="auto", show_default=True, help="Layout, if it is not recognised.")
@click.option("--pattern", metavar="REGEX", help="Your own names, e.g. '(?P<identity>[a-z]+)_cam(?P<camera>[0-9]+)'.")
@click.option("--cameras", default="auto", show_default=True, metavar="POLICY", help="auto, none or required.")
@click.option(
    "--depth",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "full"]),
    help="16-bit images: the range of the data set, or all bits.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(context: click.Context, folder: Path, depth: str, as_json: bool, **reading: Any) -> None:
    """Report on a data set: counts, cameras, damaged files. Exit code 1: damage found.

    \b
    Examples:
        dgaug data check ../Market-1501 --json
        dgaug data check photos --pattern '(?P<identity>[a-z]+)_[0-9]+'
    """
    from dgaug.data.check import check_data, who_was_read
    from dgaug.data.layouts import open_data
    from dgaug.data.summary import summary
    from dgaug.data.training import with_levels

    data = with_levels(open_data(folder, **reading), depth)
    note(summary(data), *data.notes)
    with progress_shown() as progress:
        report = check_data(data, on_progress=lambda done, total: progress("decoding pictures", done, total))
    content = report.to_json()
    if as_json:
        show_json(content)
    else:
        columns = ("split", "images", "identities", "cameras", "junk", "distractors", "damaged")
        rows = [[split, *(counts[name] for name in columns[1:])] for split, counts in content["splits"].items()]
        show_table(f"{folder} ({content['layout']})", columns, rows)
        for sentence in (*who_was_read(data), *content["problems"]):
            note(sentence)
    if report.has_damage:
        context.exit(1)


@command.command("pack")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: manifest.csv in DIR.")
@click.option("--pattern", metavar="REGEX", help="Your own names, see dgaug data check.")
@click.option("--force", is_flag=True, help="Overwrite the manifest that is there.")
def pack(folder: Path, out: Path | None, pattern: str | None, force: bool) -> None:
    """Write what was read as a CSV manifest (path, identity, camera, split).

    \b
    Example:
        dgaug data pack photos --pattern '(?P<identity>[a-z]+)_[0-9]+'
    """
    from dgaug.data.layouts import open_data
    from dgaug.data.manifest import MANIFEST_NAME, pack

    manifest = out or folder / MANIFEST_NAME
    data = open_data(folder, pattern=pattern)
    pack(data, manifest, force=force)
    note(f"wrote {manifest}", *data.notes)
