"""`dgaug eval-reid`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import note, progress_shown, show_json, show_table
from dgaug_cli.device import device_option


@click.command("eval-reid")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Data set with query and gallery.")
@click.option("--layout", default="auto", show_default=True, help="Layout, if it is not recognised.")
@click.option("--pattern", metavar="REGEX", help="Your own names, see dgaug data check.")
@click.option("--cameras", default="auto", show_default=True, metavar="POLICY", help="auto, none or required.")
@click.option(
    "--depth",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "full"]),
    help="16-bit images: the range of the data set, or all bits.",
)
@click.option(
    "--damaged", default="refuse", show_default=True, metavar="POLICY", help="Damaged images: refuse, or skip them."
)
@click.option(
    "--metric", default="cosine", show_default=True, metavar="NAME", help="cosine, euclidean or inner (product)."
)
@click.option("--flip/--no-flip", default=True, show_default=True, help="Average over a picture and its mirror.")
@click.option(
    "--fine-weight",
    default="0.5",
    show_default=True,
    metavar="W|auto",
    help="Weight of the fine half; auto: chosen on the training split, never on the test.",
)
@click.option("--rerank", is_flag=True, help="k-reciprocal re-ranking too.")
@click.option("--rerank-k1", default=20, show_default=True, metavar="K", help="Neighbours that may be reciprocal.")
@click.option("--rerank-k2", default=6, show_default=True, metavar="K", help="Neighbours averaged over.")
@click.option("--rerank-lambda", default=0.3, show_default=True, metavar="L", help="Share of the plain distance.")
@click.option("--multi-query", is_flag=True, help="By all pictures of a query's identity and camera too (gt_bbox).")
@click.option(
    "--single-shot",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="CUHK03 protocol too: N draws of one gallery picture of each identity; its authors take 10.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of what is drawn by chance.")
@click.option("--features", type=click.Path(path_type=Path), metavar="FILE", help="Write the features, .h5 or .npz.")
@click.option(
    "--ranked-lists", type=click.Path(path_type=Path), metavar="PNG", help="Draw queries and what is ranked first."
)
@device_option
@click.option("--force", is_flag=True, help="Write over these two files.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(checkpoint: Path, data: Path, as_json: bool, **options: Any) -> None:
    """Evaluate any re-id checkpoint on any data set: CMC, both mAPs, mINP.

    \b
    Examples:
        dgaug eval-reid runs/00001-toy/teacher/last.pt --data runs/00001-toy/data
        dgaug eval-reid market/last.pt --data ../DukeMTMC-reID --rerank --ranked-lists duke.png
        dgaug eval-reid market/last.pt --data ../Market-1501 --fine-weight auto --features market.h5
    """
    from dgaug.scores.evaluation import evaluate_reid

    with progress_shown() as progress:
        found = evaluate_reid(checkpoint, data, progress=progress, **options)
    if as_json:
        show_json(found.as_json())
        return
    for protocol, tables in found.ranking.items():
        names = [name for name in next(iter(tables.values())) if name.count("/") == 1]
        rows = [[name, *(_with_spread(table, name) for table in tables.values())] for name in names]
        show_table(protocol, ("figure", *tables), rows)
    _show_protocol(found.protocol)
    counts = next(iter(next(iter(found.ranking.values())).values()))
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
        chosen = "as given" if protocol["fine_weight_chosen_by"] is None else "chosen on training pictures"
        note(f"both: prim + {protocol['fine_weight']:g} x fine ({chosen})")
    if protocol["multi_query"] is not None:
        alone = protocol["multi_query"]["queries_by_their_own_picture"]
        note(f"multi-query: {alone:,} queries without such pictures stand for themselves")
    if protocol["trained_on_these_identities"] is False:
        note("the model was trained on other identities than this training split has: a transfer across data sets")
