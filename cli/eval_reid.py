"""`dgaug eval-reid`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from dgaug_cli import options as shared
from dgaug_cli.console import note, progress_shown, show_json, show_table


@click.command("eval-reid")
@click.argument("checkpoint", type=shared.PATH)
@shared.data("Data set with query and gallery.", required=True)
@shared.layout
@shared.pattern
@shared.cameras
@shared.depth()
@click.option(
    "--damaged", default="refuse", show_default=True, metavar="POLICY", help="Damaged images: refuse or skip."
)
@click.option(
    "--metric", default="cosine", show_default=True, metavar="NAME", help="cosine, euclidean or inner (inner product)."
)
@click.option(
    "--flip/--no-flip", default=True, show_default=True, help="Average the features of each image and its mirror image."
)
@click.option(
    "--fine-weight",
    default="0.5",
    show_default=True,
    metavar="W|auto",
    help="Weight of the fine features; auto: chosen on the training split, never on the test split.",
)
@click.option("--rerank", is_flag=True, help="Also report k-reciprocal re-ranking.")
@click.option("--rerank-k1", default=20, show_default=True, metavar="K", help="Size of the reciprocal neighbourhood.")
@click.option("--rerank-k2", default=6, show_default=True, metavar="K", help="Neighbours of the query expansion.")
@click.option(
    "--rerank-lambda", default=0.3, show_default=True, metavar="L", help="Weight of the original distance, 0 to 1."
)
@click.option(
    "--multi-query", is_flag=True, help="Also use all images of the query's identity and camera (from gt_bbox)."
)
@click.option(
    "--single-shot",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="Also report the CUHK03 protocol: N random galleries with one image per identity (its authors use 10).",
)
@click.option(
    "--structures",
    default=0,
    type=click.IntRange(min=0),
    metavar="K",
    help="Also average the features of each image over its appearance on K structures, made by the generator of --run.",
)
@shared.run
@shared.seed("Random seed.")
@click.option("--features", type=shared.PATH, metavar="FILE", help="Write the features to a .h5 or .npz file.")
@click.option(
    "--ranked-lists", type=shared.PATH, metavar="PNG", help="Plot queries with their top-ranked gallery images."
)
@shared.device
@shared.force("Overwrite the files of --features and --ranked-lists.")
@shared.as_json
def command(checkpoint: Path, data: Path, as_json: bool, **options: Any) -> None:
    """Evaluate a re-id checkpoint: CMC, both mAPs, mINP.

    Works with any checkpoint on any data set. The two mAP conventions are reported by name; see docs/evaluation.md.

    \b
    Examples:
        dgaug eval-reid runs/00001-toy/teacher/last.pt --data runs/00001-toy/data
        dgaug eval-reid market/last.pt --data ../DukeMTMC-reID --rerank --ranked-lists duke.png
        dgaug eval-reid market/last.pt --data ../Market-1501 --fine-weight auto --features market.h5
    """
    from dgaug.scores.retrieval.evaluate import evaluate_reid

    with progress_shown() as progress:
        evaluation = evaluate_reid(checkpoint, data, progress=progress, **options)
    if as_json:
        show_json(evaluation.as_json())
        return
    for protocol, tables in evaluation.ranking.items():
        names = [name for name in next(iter(tables.values())) if name.count("/") == 1]
        rows = [[name, *(_with_spread(table, name) for table in tables.values())] for name in names]
        show_table(protocol, ("metric", *tables), rows)
    _show_protocol(evaluation.protocol)
    counts = next(iter(next(iter(evaluation.ranking.values())).values()))
    note("  ".join(f"{name.replace('_', ' ')}: {value:,}" for name, value in counts.items() if "/" not in name))
    for path in (options["features"], options["ranked_lists"]):
        if path is not None:
            note(str(path))


def _with_spread(table: Mapping[str, float], name: str) -> float | str:
    spread = table.get(f"{name}/spread")
    return table[name] if spread is None else f"{table[name]:.3f} ± {spread:.3f}"


def _show_protocol(protocol: Mapping[str, Any]) -> None:
    flips = "flip-averaged" if protocol["flip"] else "without flip"
    note(f"{protocol['metric']}, {flips}, cameras {protocol['cameras']}")
    if protocol["fine_weight"] is not None:
        chosen = "as given" if protocol["fine_weight_chosen_by"] is None else "chosen on the training split"
        note(f"both: prim + {protocol['fine_weight']:g} x fine ({chosen})")
    if protocol["structure_averaged"] is not None:
        note(
            f"structure-averaged: each image as it is and on {protocol['structure_averaged']['structures']} structures"
        )
    if protocol["multi_query"] is not None:
        alone = protocol["multi_query"]["queries_by_their_own_picture"]
        note(f"multi-query: {alone:,} queries have no such images and use their own")
    if protocol["trained_on_these_identities"] is False:
        note("the training identities of the model are not those of this data set: a cross-dataset result")
