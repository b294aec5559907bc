"""Evaluating a re-id network on the query and gallery of a data set (method: re-id features, ranking)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from torch import Tensor

from dgaug.data.prepare import read_data
from dgaug.data.records import IdentityData, Role, class_names
from dgaug.device import AUTO, default_device, on_device
from dgaug.errors import DgaugError
from dgaug.models.checkpoints import ReidModel, load_reid
from dgaug.models.reid import AnyReidNetwork
from dgaug.outputs import require_free
from dgaug.progress import Progress, silent
from dgaug.scores.retrieval.features import (
    Extraction,
    Split,
    identity_numbers,
    require_feature_file,
    split_features,
    write_features,
)
from dgaug.scores.retrieval.fine_weight import FINE_WEIGHT, FineWeight, choose_fine_weight, weightings_of
from dgaug.scores.retrieval.held_out import (
    GALLERY,
    QUERY,
    TRAIN,
    HeldOut,
    held_out,
    require_evaluation,
    trained_identities,
    warn_of_leaks,
)
from dgaug.scores.retrieval.protocols import (
    AVERAGED,
    MULTI_QUERY,
    SINGLE_QUERY,
    Evaluation,
    Protocols,
    Tables,
    evaluate_splits,
)
from dgaug.scores.retrieval.ranked_lists import lists_to_show, plot_ranked_lists
from dgaug.scores.retrieval.reranking import Reranking
from dgaug.scores.retrieval.similarity import require_metric
from dgaug.scores.retrieval.structure_average import Structures, averaged_features, choose_structures
from dgaug.settings import parse_settings
from dgaug.surroundings import as_found

CHOSEN = "auto"
"""The weight of fine that is chosen on the training split."""


@as_found
@on_device
def evaluate_reid(
    checkpoint: str | Path,
    data: str | Path,
    *,
    layout: str = "auto",
    pattern: str | None = None,
    cameras: str = "auto",
    depth: str | tuple[int, int] = "auto",
    damaged: str = "refuse",
    metric: str = "cosine",
    flip: bool = True,
    fine_weight: float | str = FINE_WEIGHT,
    rerank: bool = False,
    rerank_k1: int = Reranking.k1,
    rerank_k2: int = Reranking.k2,
    rerank_lambda: float = Reranking.original,
    multi_query: bool = False,
    single_shot: int = 0,
    structures: int = 0,
    run: str | Path = "latest",
    seed: int = 0,
    features: str | Path | None = None,
    ranked_lists: str | Path | None = None,
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> Evaluation:
    """Rank `data`'s gallery for each query with a re-id checkpoint, whatever data it was trained on.

    Args:
        checkpoint: a re-id or DG-Net checkpoint of ours.
        data: a data set with query and gallery.
        layout: one of `LAYOUTS`, or `auto`.
        pattern: a regular expression for file names of your own, see `open_data`.
        cameras: `auto`, `none` (a match may come from the query's own camera) or `required`.
        depth: of 16-bit images: `auto` (the range of the data set), `full` or two grey levels.
        damaged: `refuse` a data set with damaged images, or `skip` them.
        metric: `cosine` (parts of unit length, as published), `euclidean` or `inner` (of the features as they are).
        flip: average over the image and its mirror.
        fine_weight: weight of the fine half in `both`; `auto` chooses it on the training split, see
            `choose_fine_weight`. Without effect on a network with one head.
        rerank: k-reciprocal re-ranking too, with the three parameters that follow.
        multi_query: rank by the mean feature of a query's identity and camera too (Market-1501: gt_bbox).
        single_shot: so many repeats of the CUHK03 protocol too, see `single_shot`.
        structures: average the features of each query and gallery image over its appearance on so many structures
            too, those of training images of `run`, made by its generator; 0: not.
        run: see `structures`.
        seed: of these repeats, of the structures, and of the validation split of `auto`.
        features: a file for the features, `.h5` or `.npz`, see `write_features`.
        ranked_lists: a PNG file for some queries and the first images of their rankings.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: write over these two.

    Raises:
        DgaugError: bad checkpoint or data, an option that does not fit, or no query with a match.
    """
    require_metric(metric)
    reranking = Reranking(rerank_k1, rerank_k2, rerank_lambda) if rerank else None
    if rerank and metric == "inner":
        raise DgaugError("re-ranking needs a distance, which inner products are not; use --metric cosine or euclidean")
    weight = None if fine_weight == CHOSEN else _given_weight(fine_weight)
    feature_file, list_file = (None if path is None else Path(path) for path in (features, ranked_lists))
    _require_writable(feature_file, list_file, force=force)
    model = load_reid(Path(checkpoint))
    used = [QUERY, GALLERY, *([MULTI_QUERY] if multi_query else [])]
    reading = {"layout": layout, "pattern": pattern, "cameras": cameras, "depth": depth, "damaged": damaged}
    content = _read_evaluated(Path(data), reading, used if weight else [*used, TRAIN], progress)
    leaks = held_out(content, trained_identities(model, content))
    warn_of_leaks(leaks)
    extraction = Extraction(model.network.to(default_device()), model.image_size, flip=flip, unit=metric == "cosine")
    # Parts of unit length already; the mean over several queries keeps the length it has (method: ranking).
    metric_of_scores = "inner" if metric == "cosine" else metric
    if weight is None and extraction.parts == 2:
        weight = choose_fine_weight(extraction, content, metric=metric_of_scores, seed=seed, progress=progress)
    weight = weight or FineWeight()
    chosen = choose_structures(str(run), structures, extraction, seed=seed) if structures else None
    splits = _features(extraction, content, used, progress)
    evaluation = evaluate_splits(
        splits[QUERY],
        splits[GALLERY],
        weightings_of(extraction.parts, weight.weight),
        protocols=Protocols(
            metric_of_scores,
            reranking,
            splits.get(MULTI_QUERY),
            single_shot,
            seed,
            None if chosen is None else _averaged(extraction, content, chosen, progress),
        ),
        described={
            "checkpoint_sha256": model.sha256,
            "image_size": list(model.image_size),
            "metric": metric,
            "flip": flip,
            "fine_weight": weight.weight if extraction.parts == 2 else None,
            "fine_weight_chosen_by": None
            if weight.chosen_by is None
            else {"mAP of training images (sum, valid queries)": weight.chosen_by, "queries": weight.queries},
            "reranking": None if reranking is None else _described_reranking(reranking, content),
            "single_gallery_shot": {"repeats": single_shot, "seed": seed} if single_shot else None,
            "multi_query": _described_multi_query(splits) if multi_query else None,
            "structure_averaged": None if chosen is None else chosen.described(),
            **_described_data(model, content, leaks),
        },
        progress=progress,
    )
    if feature_file is not None:
        write_features(feature_file, splits, evaluation.protocol, parts=extraction.parts)
    if list_file is not None:
        plot_ranked_lists(lists_to_show(evaluation, content, model.image_size), list_file)
    return evaluation


def evaluate_network(
    network: AnyReidNetwork,
    data: IdentityData,
    *,
    image_size: tuple[int, int],
    fine_weight: float = FINE_WEIGHT,
    structures: Structures | None = None,
    progress: Progress = silent,
) -> Tables:
    """The metrics of a network for single queries, by feature (`prim`, `fine`, `both`); `fine_weight` is that of both.

    With `structures` of features that are averaged over each image's appearance on them.

    Raises:
        DgaugError: no query or gallery, one identity only, or no query with a match.
    """
    require_evaluation(data)
    extraction = Extraction(network, image_size)
    splits = _features(extraction, data, (QUERY, GALLERY), progress)
    weightings = weightings_of(extraction.parts, fine_weight)
    averaged = None if structures is None else _averaged(extraction, data, structures, progress)
    evaluation = evaluate_splits(
        splits[QUERY], splits[GALLERY], weightings, protocols=Protocols(averaged=averaged), progress=progress
    )
    return evaluation.ranking[SINGLE_QUERY if structures is None else AVERAGED]


def _given_weight(weight: float | str) -> FineWeight:
    try:
        given = FineWeight(float(weight))
    except ValueError:
        given = FineWeight(-1)
    if not 0 <= given.weight < float("inf"):
        raise DgaugError(f"the weight of fine: expected a number from 0 on or {CHOSEN}, found {weight!r}")
    return given


def _require_writable(feature_file: Path | None, list_file: Path | None, *, force: bool) -> None:
    if feature_file is not None:
        require_feature_file(feature_file)
    for path in (feature_file, list_file):
        if path is not None:
            require_free(path, force=force)


def _read_evaluated(
    root: Path, reading: Mapping[str, object], splits: Sequence[str], progress: Progress
) -> IdentityData:
    settings = parse_settings({"data": reading}, source="eval-reid")
    data = read_data(root, settings.data, splits=tuple(splits), progress=progress)
    require_evaluation(data)
    if MULTI_QUERY in splits and not data.splits.get(MULTI_QUERY):
        raise DgaugError(f"{root} has no multi-query images (Market-1501: gt_bbox); remove --multi-query")
    return data


def _features(
    extraction: Extraction, data: IdentityData, splits: Sequence[str], progress: Progress
) -> dict[str, Split]:
    numbers = identity_numbers(record for split in splits for record in data.splits[split])
    return {split: split_features(extraction, data, split, numbers, progress=progress) for split in splits}


def _averaged(
    extraction: Extraction, data: IdentityData, structures: Structures, progress: Progress
) -> tuple[Tensor, Tensor]:
    sides = [
        averaged_features(
            extraction,
            [data.image_path(record) for record in data.splits[split]],
            structures,
            title=f"features of {split} over structures",
            progress=progress,
        )
        for split in (QUERY, GALLERY)
    ]
    return sides[0], sides[1]


def _described_reranking(reranking: Reranking, data: IdentityData) -> dict[str, object]:
    """Its parameters, with as many neighbours as there are."""
    gallery = [record for record in data.splits[GALLERY] if record.role is not Role.JUNK]
    images = len(data.splits[QUERY]) + len(gallery)
    return asdict(replace(reranking, k1=min(reranking.k1, images - 1), k2=min(reranking.k2, images)))


def _described_multi_query(splits: Mapping[str, Split]) -> dict[str, int]:
    query, images = (
        zip(splits[name].identities.tolist(), splits[name].cameras.tolist(), strict=True)
        for name in (QUERY, MULTI_QUERY)
    )
    known = set(images)
    return {
        "pictures": len(splits[MULTI_QUERY].records),
        "queries_by_their_own_picture": sum(one not in known for one in query),
    }


def _described_data(model: ReidModel, data: IdentityData, leaks: HeldOut) -> dict[str, object]:
    """Which data these are, and whether they are those that the network was trained on (None: cannot be told)."""
    names = class_names(data.splits.get(TRAIN, []))
    return {
        "layout": data.layout,
        "cameras": leaks.cameras,
        "trained_on_these_identities": model.knows(names) if names else None,
        "held_out": leaks.described(),
    }
