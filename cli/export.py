"""`dgaug export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json

OF_STORES = ("folders", "webdataset", "csv")
OF_CHECKPOINTS = ("torchscript", "onnx")


@click.command("export")
@click.argument("source", metavar="STORE|CHECKPOINT", type=shared.PATH)
@click.option("--to", required=True, type=click.Choice([*OF_STORES, *OF_CHECKPOINTS]), help="Output format.")
@shared.out("Output directory, new or empty; for an encoder, a new file.", required=True)
@click.option(
    "--labels",
    metavar="POLICY",
    help="Label policy: soft, appearance, structure, pseudo, ... (default: soft if stored).",
)
@click.option(
    "--identity",
    default="appearance",
    show_default=True,
    type=click.Choice(["appearance", "structure", "new"]),
    help="folders: identity in the file name: of a donor, or one new identity for all images.",
)
@click.option(
    "--unknown-camera",
    type=click.IntRange(min=0),
    metavar="N",
    help="folders: camera number in the file name if the camera is unknown (default: no camera in the name).",
)
@click.option(
    "--shard-size",
    default=10_000,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="webdataset: images per tar file.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Export only the first N images of the store.")
@click.option(
    "--flip/--no-flip",
    default=True,
    show_default=True,
    help="Encoder: average the features of each image and its mirror image inside the network.",
)
@shared.device
@shared.force("Start over; removes only files that an earlier export wrote.")
@shared.as_json
@click.pass_context
def command(context: click.Context, source: Path, to: str, *, as_json: bool, **options: Any) -> None:
    """Export a store or an encoder for other programs.

    \b
    Formats of a store:
        folders      bounding_box_train/0002_c1s1_0000451_00.jpg, ..., labels.csv, identities.csv
        webdataset   000000.tar, ... with KEY.jpg and KEY.json
        csv          labels.csv: every pair with its donors and its label, no images

    \b
    Formats of the encoder of a re-id or DG-Net checkpoint (images to features):
        torchscript  for torch.jit.load
        onnx         needs the extra dgaug[onnx]

    \b
    Examples:
        dgaug export runs/00001-toy/store --to folders --out generated
        dgaug export runs/00001-toy/store --to webdataset --out tars --labels two-soft
        dgaug export runs/00001-toy/checkpoints/last.pt --to onnx --out encoder.onnx
    """
    encoder = to in OF_CHECKPOINTS
    common = {name: options.pop(name) for name in ("out", "force")}
    for name in options:
        if (name == "flip") != encoder and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{flag} has no effect with --to {to}; remove it")
    flip = options.pop("flip")
    if encoder:
        _export_encoder(source, as_json=as_json, to=to, flip=flip, **common)
    else:
        _export_store(source, as_json=as_json, to=to, **common, **options)


def _export_encoder(checkpoint: Path, *, as_json: bool, **options: Any) -> None:
    from dgaug.models.export_encoder import export_encoder

    made = export_encoder(checkpoint, **options)
    if as_json:
        show_json(
            {
                "out": str(made.out),
                "to": made.to,
                "image_size": list(made.image_size),
                "feature_length": made.feature_length,
                "difference": made.difference,
            }
        )
        return
    height, width = made.image_size
    note(
        f"{made.out}: RGB images [B, 3, {height}, {width}] in [0, 1] to features [B, {made.feature_length}]; "
        f"maximum difference to the network: {made.difference:.1g}"
    )


def _export_store(store: Path, *, as_json: bool, **options: Any) -> None:
    from dgaug.store.export import export_store

    with progress_shown() as progress:
        made = export_store(store, progress=progress, **options)
    if as_json:
        show_json(
            {
                "out": str(made.out),
                "to": made.to,
                "pictures": made.images,
                "labels": made.labels,
                "already_complete": made.already_complete,
                "notes": made.notes,
            }
        )
        return
    for text in made.notes:
        note(text)
    word = "already complete: " if made.already_complete else ""
    note(f"{word}{made.images:,} {'pairs' if made.to == 'csv' else 'images'} in {made.out}")
