"""`dgaug export`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json

OF_STORES = ("folders", "webdataset", "csv")
OF_CHECKPOINTS = ("torchscript", "onnx")
TOOLS = ("market", "boxmot", "oml", "wildlife", "csv", "huggingface")
OF_JUDGE = ("data", "select", "layout", "pattern", "cameras")
"""Options that --for has, and --to of a store with --select judge:FILE."""
OF_TOOLS = (*OF_JUDGE, "min_confidence", "ratio", "license", "seed")
"""Options that only --for has, but for those of a judge."""
SHARED = ("labels", "unknown_camera", "device")
"""Options that both --to of a store and --for have."""


class FormatOption(click.Option):
    """`--to`, which is required unless `--for` is given."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The value; none may be missing beside `--for`."""
        if ctx.params.get("tool") in TOOLS and self.value_is_missing(value):
            return None
        return super().process_value(ctx, value)


class SelectChoice(click.Choice):
    """The choices of `--select`, and `judge:FILE,keep=F`, whose form the library checks."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value."""
        if str(value).startswith("judge") or value in self.choices:
            return value
        self.fail(f"{value!r} is not random, confidence or judge:FILE,keep=0.5", param, ctx)


@click.command("export")
@click.argument("source", metavar="STORE|CHECKPOINT", type=shared.PATH)
@click.option(
    "--to",
    cls=FormatOption,
    required=True,
    type=click.Choice([*OF_STORES, *OF_CHECKPOINTS]),
    help="Output format of generated images alone, or of an encoder.",
)
@click.option(
    "--for",
    "tool",
    is_eager=True,
    type=click.Choice(TOOLS),
    help="In place of --to: a data set of real and generated images for this tool.",
)
@click.option(
    "--with",
    "data",
    type=shared.PATH,
    metavar="DATA",
    help="--for, --select judge: the data set that the store was made from.",
)
@shared.out("Output directory, new or empty; for an encoder, a new file.", required=True)
@click.option(
    "--labels",
    metavar="POLICY",
    help="Label policy: soft, appearance, structure, pseudo, ... (default: soft if stored; with --for, appearance).",
)
@click.option(
    "--ratio",
    type=click.FloatRange(min=0, min_open=True),
    metavar="R",
    help="--for: generated images for each real training image of an identity (default: 1; without --with, all).",
)
@click.option("--license", metavar="TEXT", help="huggingface: licence of the source images, for the dataset card.")
@click.option(
    "--select",
    default="random",
    show_default=True,
    type=SelectChoice(["random", "confidence"]),
    metavar="random|confidence|judge:FILE,keep=F",
    help="Which generated images. --for: at random or the surest first, if the store has more than asked for. All "
    "formats: only the fraction F that an independent re-id checkpoint recognises best.",
)
@click.option(
    "--min-confidence",
    default=0.0,
    type=click.FloatRange(0, 1),
    metavar="P",
    help="--for: leave out images whose highest class probability is below P.",
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
    help="folders, market, boxmot: camera number in the file name if the camera is unknown.",
)
@click.option(
    "--shard-size",
    default=10_000,
    show_default=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="webdataset, huggingface: images per tar file.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Export only the first N images.")
@click.option(
    "--flip/--no-flip",
    default=True,
    show_default=True,
    help="Encoder: average the features of each image and its mirror image inside the network.",
)
@shared.layout
@shared.pattern
@shared.cameras
@shared.seed("Random seed of --select random.")
@shared.device
@shared.force("Start over; removes only files that an earlier export wrote.")
@shared.as_json
@click.pass_context
def command(
    context: click.Context, source: Path, to: str | None, tool: str | None, *, as_json: bool, **options: Any
) -> None:
    """Export a store or an encoder for other programs.

    \b
    Formats of a store:
        folders      bounding_box_train/0002_c1s1_0000451_00.jpg, ..., labels.csv, identities.csv
        webdataset   000000.tar, ... with KEY.jpg and KEY.json
        csv          labels.csv: every pair with its donors and its label, no images

    \b
    Data sets of real and generated images (--for, with the data of the store by --with):
        market       Market-1501 folders: torchreid, fast-reid, TransReID, CLIP-ReID, the layumi baseline
        boxmot       the same folders and market1501.yaml
        oml          df.csv of Open Metric Learning
        wildlife     metadata.csv of wildlife-datasets and wildlife-tools
        csv          manifest.csv with every label policy
        huggingface  tars and a dataset card for datasets.load_dataset; --with is optional

    \b
    Formats of the encoder of a re-id or DG-Net checkpoint (images to features):
        torchscript  for torch.jit.load
        onnx         needs the extra dgaug[onnx]

    \b
    Examples:
        dgaug export runs/00001-toy/store --to folders --out generated
        dgaug export runs/00001-toy/store --to webdataset --out tars --labels two-soft
        dgaug export runs/00001-toy/store --with runs/00001-toy/data --for market --out mixed
        dgaug export runs/00001-toy/store --select judge:judge.pt,keep=0.5 --to folders --out best
        dgaug export runs/00001-toy/checkpoints/last.pt --to onnx --out encoder.onnx
    """
    if to is not None and tool is not None:
        raise click.UsageError("--to writes generated images alone, --for real ones beside them; give one of the two")
    common = {name: options.pop(name) for name in ("out", "force")}
    takes = _taken(to, tool, options)
    for name in options:
        if name not in takes and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = {"data": "--with", "select": f"--select {options[name]}"}.get(name, f"--{name.replace('_', '-')}")
            chosen = f"--for {tool}" if to is None else f"--to {to}"
            raise click.UsageError(f"{flag} has no effect with {chosen}; remove it")
    options = {name: value for name, value in options.items() if name in takes}
    if tool is not None:
        _export_merged(source, as_json=as_json, tool=tool, **common, **options)
    elif to in OF_CHECKPOINTS:
        _export_encoder(source, as_json=as_json, to=to, **common, **options)
    else:
        _export_store(source, as_json=as_json, to=to, **common, **options)


def _taken(to: str | None, tool: str | None, options: Mapping[str, Any]) -> set[str]:
    """The options that a format takes."""
    if to is None:
        return {*OF_TOOLS, *SHARED, *(("shard_size",) if tool == "huggingface" else ())}
    if to in OF_CHECKPOINTS:
        return {"flip"}
    judged = OF_JUDGE if str(options["select"]).startswith("judge") else ()
    return {name for name in options if name in judged or (name != "flip" and name not in OF_TOOLS)}


def _export_merged(store: Path, *, as_json: bool, **options: Any) -> None:
    from dgaug.studies.judged_export import export_merged

    with progress_shown() as progress:
        made = export_merged(store, progress=progress, **options)
    if as_json:
        show_json({**asdict(made), "out": str(made.out)})
        return
    note(
        *made.notes,
        f"{made.real:,} real and {made.generated:,} generated images, {made.identities:,} training identities "
        f"in {made.out}",
    )


def _export_encoder(checkpoint: Path, *, as_json: bool, **options: Any) -> None:
    from dgaug.models.export_encoder import export_encoder

    made = export_encoder(checkpoint, **options)
    if as_json:
        show_json({**asdict(made), "out": str(made.out)})
        return
    height, width = made.image_size
    note(
        f"{made.out}: RGB images [B, 3, {height}, {width}] in [0, 1] to features [B, {made.feature_length}]; "
        f"maximum difference to the network: {made.difference:.1g}"
    )


def _export_store(store: Path, *, as_json: bool, **options: Any) -> None:
    from dgaug.studies.judged_export import export_store

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
                **({} if made.select is None else {"select": made.select}),
            }
        )
        return
    note(*made.notes, f"{made.images:,} {'pairs' if made.to == 'csv' else 'images'} in {made.out}")
