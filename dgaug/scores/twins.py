"""`dgaug train-reid`: a model fed with generated pictures beside its twin that sees real ones only."""

from __future__ import annotations

import logging
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from dgaug.data.records import IdentityData
from dgaug.data.training import fingerprint, read_data
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.files import read_json, whole, write_json
from dgaug.models.architectures import appearance_architecture, teacher_architecture
from dgaug.models.checkpoints import load_reid
from dgaug.models.weights import file_sha256
from dgaug.processes import Processes
from dgaug.progress import Progress, silent
from dgaug.runs import Run, find_run, locked
from dgaug.scores.evaluation import evaluate_network, require_evaluation
from dgaug.scores.retrieval import Ranking
from dgaug.settings import Settings, load_settings, override, parse_settings
from dgaug.store.read import StoreDataset, open_store
from dgaug.training.batches import LabelledPictures
from dgaug.training.feed import StoreFeed, require_fitting, require_policy
from dgaug.training.reid import ReidJob, train_reid_network

_log = logging.getLogger("dgaug")

AUGMENTED = "augmented"
TWIN = "real only"
FEEDS = ("none", "stored")
MODELS = ("dgnet", "baseline")
STUDY = "study.json"
"""What the models in the folder were trained with."""
HEADLINE = {
    "rank-1": "sum_valid_queries/R1",
    "mAP (sum, valid queries)": "sum_valid_queries/mAP",
    "mAP (trapezoid, all queries)": "trapezoid_all_queries/mAP",
}


@dataclass(frozen=True)
class Row:
    """One trained model: its variant, its seed, its ranking figures by feature."""

    variant: str
    seed: int
    ranking: dict[str, Ranking]


@dataclass(frozen=True)
class _Study:
    settings: Settings
    data: IdentityData
    pictures: LabelledPictures
    store: StoreDataset | None
    model: str
    labels: str
    folder: Path
    device: torch.device
    progress: Progress


def train_reid(
    run: str | Path = "latest",
    *,
    data: str | Path | None = None,
    store: str | Path | None = None,
    config: str | Path | None = None,
    feed: str = "stored",
    labels: str = "soft",
    model: str = "dgnet",
    seeds: int = 1,
    twin: bool = True,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train re-id models with and without generated pictures and evaluate both; returns what `results.json` holds.

    Both models of a seed start from the same weights and take the same number of optimiser steps on batches of the
    same size: where one sees generated pictures, its twin sees more real ones.

    Args:
        run: the run whose settings, data and store are used, unless the next ones say otherwise.
        data: a data set with query and gallery.
        store: a finished store made from its training pictures.
        config: preset or file for the settings, when there is no run.
        feed: `none` (real pictures only) or `stored`.
        labels: label policy of the generated pictures, see `dgaug.store.policies`.
        model: `dgnet` (two heads) or `baseline` (one head).
        seeds: how many repetitions, each with its twin.
        twin: train the real-only twins too.
        overrides: `section.name=value` texts.
        out: folder for models and results; None: `reid/` in the run.
        force: train again what is there.

    Raises:
        DgaugError: wrong use or bad input. Interrupted: a signal arrived; everything was saved.
    """
    if feed not in FEEDS:
        raise DgaugError(f"unknown feed {feed!r}; known are {', '.join(FEEDS)}")
    if model not in MODELS:
        raise DgaugError(f"unknown model {model!r}; known are {', '.join(MODELS)}")
    require_policy(labels)
    found = find_run(str(run)) if data is None or run != "latest" else None
    base = found.settings() if found is not None and config is None else load_settings(config)
    settings = parse_settings(override(base, overrides), source="settings")
    folder = Path(out) if out is not None else found.reid if found is not None else None
    root = Path(data) if data is not None else found.data_root() if found is not None else None
    if folder is None or root is None:
        raise DgaugError("--data needs --out: there is no run folder to put the results in")
    stored = None
    if feed == "stored":
        stored = open_store(store if store is not None else _store_of(found))
    content = read_data(root, settings.data, splits=("train", "query", "gallery"), progress=progress)
    require_evaluation(content)
    pictures = LabelledPictures.of(content, settings.data.image_size)
    if stored is not None:
        require_fitting(stored, pictures)
    study = _Study(settings, content, pictures, stored, model, labels, folder, default_device(), progress)
    with locked(folder, what="re-id folder"):
        if force:
            _clear_models(folder)
        _refuse_other_study(study)
        numbers = range(settings.seed, settings.seed + seeds)
        return _write_results(study, [row for seed in numbers for row in _rows(study, seed, twin=twin)])


def _store_of(run: Run | None) -> Path:
    if run is None:
        raise DgaugError("--data needs --store: a store made from its training pictures (or --feed none)")
    return run.store


def _rows(study: _Study, seed: int, *, twin: bool) -> list[Row]:
    variants = [AUGMENTED] if study.store is not None else []
    if twin or study.store is None:
        variants.append(TWIN)
    return [Row(variant, seed, _trained_and_evaluated(study, variant, seed)) for variant in variants]


def _trained_and_evaluated(study: _Study, variant: str, seed: int) -> dict[str, Ranking]:
    folder = study.folder / f"seed{seed}-{variant.replace(' ', '-')}"
    finished = folder / "ranking.json"
    if finished.is_file():
        _log.info("already complete: %s", folder)
    checkpoint = folder / "last.pt"
    train_reid_network(
        _job(study, variant, seed),
        checkpoint,
        processes=Processes(study.device),
        save_every=study.settings.checkpoint.every,
        progress=study.progress,
    )
    if not finished.is_file():
        ranking = evaluate_network(
            load_reid(checkpoint).network.to(study.device),
            study.data,
            image_size=study.settings.data.image_size,
            fine_weight=study.settings.reid.fine_at_test,
            progress=study.progress,
        )
        write_json(finished, ranking)
    table: dict[str, Any] = read_json(finished)
    return table


def _job(study: _Study, variant: str, seed: int) -> ReidJob:
    settings, classes = study.settings, len(study.pictures.class_names)
    describe = appearance_architecture if study.model == "dgnet" else teacher_architecture
    generated = _generated_per_step(study)
    feed = None
    batch_size = settings.reid.batch_size
    if variant == AUGMENTED and study.store is not None:
        feed = StoreFeed(study.store, generated, seed, study.labels)
    else:
        batch_size += generated
    return ReidJob(
        study.pictures,
        settings.reid.model_copy(update={"batch_size": batch_size}),
        settings.data,
        describe(settings, classes),
        weights=settings.model.weights,
        seed=seed,
        feed=feed,
        phase="re-id",
        title=f"re-id, {variant}, seed {seed}",
    )


def _generated_per_step(study: _Study) -> int:
    if study.store is None:
        return 0
    reid = study.settings.reid
    return max(2, round(reid.batch_size * reid.ratio))  # batch norm needs two


def _clear_models(folder: Path) -> None:
    if (folder / STUDY).is_file():
        for item in folder.glob("seed*-*"):
            shutil.rmtree(item)
        (folder / STUDY).unlink()


def _refuse_other_study(study: _Study) -> None:
    store = None if study.store is None else file_sha256(study.store.path / "dataset.h5")
    settings = study.settings.model_dump(mode="json")
    described: dict[str, object] = {
        "model": study.model,
        "labels": study.labels,
        "store_sha256": store,
        "data": fingerprint(study.data),
        "image_size": list(study.settings.data.image_size),
        "reid": settings["reid"],
        "network": settings["model"],
    }
    path = study.folder / STUDY
    if path.is_file() and any(study.folder.glob("seed*-*/last.pt")):
        before = read_json(path)
        changed = [name for name in described if before.get(name) != described[name]]
        if changed:
            raise DgaugError(
                f"{study.folder} holds models of another study (other {', '.join(changed)}); "
                "choose another --out, or --force trains again"
            )
    write_json(path, described)


def _write_results(study: _Study, rows: list[Row]) -> dict[str, Any]:
    settings = study.settings.reid
    protocol = {
        "model": study.model,
        "labels": study.labels if study.store is not None else None,
        "seeds": sorted({row.seed for row in rows}),
        "optimiser_steps": settings.iterations,
        "pictures_per_step": settings.batch_size + _generated_per_step(study),
        "twin": "same start, same steps, same pictures per step, all of them real",
        "evaluation": "single query, flip-averaged features, prim + weight x fine; junk dropped, distractors kept",
        "fine_weight": settings.fine_at_test,
        "data": {"layout": study.data.layout, "training_images": len(study.pictures.paths)},
    }
    results = {
        "protocol": protocol,
        "runs": [{"variant": row.variant, "seed": row.seed, "ranking": row.ranking} for row in rows],
        "summary": summary(rows),
    }
    write_json(study.folder / "results.json", results)
    with whole(study.folder / "results.csv") as aside:
        pd.DataFrame(_flat(rows)).to_csv(aside, index=False)
    return results


def summary(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Mean and sample standard deviation over seeds (None for one seed) of the headline figures, by variant."""
    table: dict[str, dict[str, dict[str, float | None]]] = {}
    for variant in dict.fromkeys(row.variant for row in rows):
        rankings = [row.ranking.get("both", row.ranking["prim"]) for row in rows if row.variant == variant]
        table[variant] = {}
        for name, key in HEADLINE.items():
            values = [float(ranking[key]) for ranking in rankings]
            spread = statistics.stdev(values) if len(values) > 1 else None
            table[variant][name] = {"mean": statistics.fmean(values), "spread": spread, "seeds": len(values)}
    return table


def _flat(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [
        {"variant": row.variant, "seed": row.seed, "feature": feature} | ranking
        for row in rows
        for feature, ranking in row.ranking.items()
    ]
