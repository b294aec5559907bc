"""`dgaug train-reid`: a model fed with generated images beside its twins that see real ones only."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dgaug.data.prepare import read_data
from dgaug.data.recorded import read_run_data
from dgaug.data.records import IdentityData, class_names
from dgaug.device import AUTO, on_device
from dgaug.errors import DgaugError
from dgaug.files import write_sealed_json
from dgaug.models.architectures import ARCHITECTURES, RECIPES
from dgaug.progress import Progress, silent
from dgaug.runs import find_run, locked
from dgaug.scores.retrieval.held_out import HeldOut, held_out, require_evaluation, warn_of_leaks
from dgaug.settings import FeedSettings, Settings, load_settings, override, parse_settings, setting_texts
from dgaug.studies.feeds import (
    FEEDS,
    TRUST,
    Labelling,
    open_sources,
    require_mixup,
    require_policy,
    scheduled_count,
    seeded_feed,
)
from dgaug.studies.selection import Selected, parse_selection, require_judge, selected
from dgaug.studies.study import (
    HEADLINE,
    Row,
    Statistic,
    Study,
    Variant,
    flat,
    generated_per_step,
    over_seeds,
    paired_difference,
    write_table,
)
from dgaug.surroundings import as_found
from dgaug.training.batches import LabelledImages
from dgaug.training.sampling import Share, require_identities
from dgaug.training.trackers import require_tracker

_log = logging.getLogger("dgaug")

AUGMENTED = "augmented"
TWIN = "real only"
FEWER = "real only, as many real"
"""The twin that sees the real images of the augmented model and nothing else: smaller batches."""


@as_found
@on_device
def train_reid(
    run: str | Path = "latest",
    *,
    data: str | Path | None = None,
    store: str | Path | None = None,
    teacher: str | Path | None = None,
    config: str | Path | None = None,
    feed: str = "stored",
    labels: str | None = None,
    select: str | None = None,
    model: str = "dgnet",
    seeds: int = 1,
    seed: int | None = None,
    twin: bool = True,
    identities_fraction: float | None = None,
    images_per_identity: int | None = None,
    set: str | Iterable[str] = (),
    overrides: str | Iterable[str] = (),
    out: str | Path | None = None,
    log: str | None = None,
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train re-id models with and without generated images and evaluate all; returns what `results.json` holds.

    The models of a seed start from the same weights and take the same number of optimiser steps. The twin's batches
    are of the same size: where the model sees generated images, it sees more real ones. A second twin sees as many
    real images as the model does, in smaller batches.

    Args:
        run: the run whose settings, data and store are used, unless the next ones say otherwise.
        data: a data set with query and gallery.
        store: a finished store made from its training images.
        teacher: a re-id checkpoint that makes the soft labels; None: those stored, or else of the run's teacher.
        config: preset or file for the settings, when there is no run.
        feed: `none` (real images only), `stored` (a store), `online` (fresh pairs, drawn on the training device from
            the codes of the run's frozen generator) or `both` (half and half).
        labels: label policy of the generated images, see `dgaug.store.policies`; None: the settings'.
        select: `judge:FILE,keep=0.5`: use only this share of the generated images of each appearance identity, those
            that an independent re-id checkpoint recognises best; `diversity:` and `both:` see
            `dgaug.studies.selection.Selection`; the label policy `trust` needs one of them.
        model: `dgnet` (two heads), `baseline` (one), `pcb` or `bot`; it brings its own recipe.
        seeds: how many repetitions, each with its twins.
        seed: the first one; None: the settings'.
        twin: train the real-only twins too.
        identities_fraction: use only this share of the training identities.
        images_per_identity: use only so many images of each.
        set: `section.name=value` texts, as of `--set`.
        overrides: the same.
        out: folder for models and results; None: `reid/` in the run.
        log: `tensorboard`, `wandb`, `mlflow` or `none`; None: the setting `checkpoint.tracker`.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: train again what is there.

    Raises:
        DgaugError: wrong use or bad input. Interrupted: a signal arrived; everything was saved.
    """
    _require_known("feed", feed, FEEDS)
    _require_known("model", model, ARCHITECTURES)
    trained = find_run(str(run)) if data is None or run != "latest" else None
    base = trained.settings() if trained is not None and config is None else load_settings(config)
    flags = {
        "reid.labels": labels,
        "data.identities_fraction": identities_fraction,
        "data.images_per_identity": images_per_identity,
        "checkpoint.tracker": log,
    }
    settings = model_settings(base, model, setting_texts(overrides, set), flags)
    require_tracker(settings.checkpoint.tracker)
    reid = settings.reid
    require_policy(reid.labels)
    selection = None if select is None else parse_selection(select)
    if reid.labels == TRUST and selection is None:
        raise DgaugError(f"the label policy {TRUST} needs a judge; add --select judge:FILE")
    if selection is not None and feed == "none":
        raise DgaugError("--select chooses among generated images, --feed none has none; remove one of them")
    require_identities(reid, "reid", Share(turns=reid.accumulation))
    folder = Path(out) if out is not None else trained.reid if trained is not None else None
    if folder is None:
        raise DgaugError("--data needs --out: there is no run folder to put the results in")
    splits = ("train", "query", "gallery")
    if data is not None:
        content = read_data(Path(data), settings.data, splits=splits, progress=progress)
    else:
        assert trained is not None
        content = read_run_data(trained, settings.data, splits=splits, progress=progress)
    require_evaluation(content)
    warn_of_leaks(_held_out(content))
    images = LabelledImages.of(content, settings.data.image_size)
    store_path, teacher_path = (None if path is None else Path(path) for path in (store, teacher))
    of_run = trained.teacher if trained is not None and trained.teacher.is_file() else None
    labelling = Labelling(reid.labels, reid.weighting == "confidence", teacher_path, of_run, reid.identity_mixup)
    sources = open_sources(
        feed, trained, store_path, images=images, labelling=labelling, folder=folder, progress=progress
    )
    require_mixup(reid, [source.store for source in sources])
    chosen: list[Selected] = []
    if selection is not None:
        teachers = [path for path in (labelling.teacher, labelling.fallback) if path is not None]
        judge = require_judge(selection, sources, teachers)
        pairs = [selected(source, selection, judge, images, progress=progress) for source in sources]
        sources, chosen = [source for source, _ in pairs], [one for _, one in pairs]
        for source, one in pairs:
            _log.info("%s: %s", source.store.path, one.sentence())
    study = Study(settings, content, images, folder, progress)
    generated = generated_per_step(reid) if sources else 0
    variants = (
        [Variant(AUGMENTED, model, reid, seeded_feed(sources, labelling, scheduled_count(reid)))] if sources else []
    )
    if twin or not sources:
        variants += twin_variants(model, reid, generated)
    first = settings.seed if seed is None else seed
    with locked(folder, what="re-id folder"):
        made_of: dict[str, object] = {
            "sources": [one.described() for one in sources],
            "--select": [one.described() for one in chosen] or None,
        }
        study.begin({"--model": model, "--feed": feed, **made_of}, force=force)
        _log.info("%d models of %d steps each: %s", seeds * len(variants), reid.iterations, _named(variants, seeds))
        rows = [study.row(variant, number) for number in range(first, first + seeds) for variant in variants]
        return _write_results(study, rows, model=model, feed=feed, generated=generated, chosen=chosen)


def model_settings(
    base: Settings, model: str, overrides: Sequence[str], flags: Mapping[str, object] | None = None
) -> Settings:
    """Settings with the recipe that a model brings, changed by `section.name=value` texts and then by flags."""
    recipe = [f"reid.{name}={value}" for name, value in RECIPES.get(model, {}).items()]
    given = [f"{name}={value}" for name, value in (flags or {}).items() if value is not None]
    return parse_settings(override(base, [*recipe, *overrides, *given]), source="settings")


def twin_variants(
    model: str, reid: FeedSettings, generated: int, *, names: tuple[str, str] = (TWIN, FEWER)
) -> list[Variant]:
    """The real-only twins of a model that sees `generated` images in a step: one where there are none."""
    more = reid.model_copy(update={"batch_size": reid.batch_size + generated})
    same_size = Variant(names[0], model, more)
    return [same_size, Variant(names[1], model, reid)] if generated else [same_size]


def _held_out(data: IdentityData) -> HeldOut:
    return held_out(data, class_names(data.splits["train"]))


def _named(variants: Sequence[Variant], seeds: int) -> str:
    names = "; ".join(variant.name for variant in variants)
    return names if seeds == 1 else f"{names}; {seeds} seeds"


def _require_known(what: str, name: str, known: Sequence[str] | Mapping[str, object]) -> None:
    if name not in known:
        raise DgaugError(f"unknown {what} {name!r}; known are {', '.join(known)}")


def _write_results(
    study: Study, rows: list[Row], *, model: str, feed: str, generated: int, chosen: Sequence[Selected]
) -> dict[str, Any]:
    settings = study.settings.reid
    two_heads = all("both" in row.ranking for row in rows)
    score = "prim + weight x fine" if two_heads else "prim"
    protocol = {
        "model": model,
        "feed": feed,
        "labels": settings.labels if feed != "none" else None,
        **({"select": [one.described() for one in chosen]} if chosen else {}),
        "seeds": sorted({row.seed for row in rows}),
        "optimiser_steps": settings.iterations,
        "pictures_per_step": settings.batch_size + generated,
        "twin": "same start, same steps, same pictures per step, all of them real"
        if any(row.variant in (TWIN, FEWER) for row in rows)
        else None,
        "evaluation": f"single query, flip-averaged features, {score}; junk dropped, distractors kept",
        "fine_weight": settings.fine_at_test if two_heads else None,
        "data": {
            "layout": study.data.layout,
            "training_images": len(study.images.paths),
            "training_identities": len(class_names(study.data.splits["train"])),
        },
        "held_out": _held_out(study.data).described(),
    }
    results = {
        "protocol": protocol,
        "runs": [{"variant": row.variant, "seed": row.seed, "ranking": row.ranking} for row in rows],
        "summary": summary(rows),
        "differences": differences(rows),
    }
    write_sealed_json(study.folder / "results.json", results)
    write_table(study.folder / "results.csv", flat(rows))
    return results


def summary(rows: Sequence[Row]) -> dict[str, dict[str, Statistic]]:
    """Mean and sample standard deviation over seeds (None for one seed) of the headline metrics, by variant."""
    return {
        variant: {name: over_seeds(_values(rows, variant, key)) for name, key in HEADLINE.items()}
        for variant in dict.fromkeys(row.variant for row in rows)
    }


def differences(rows: Sequence[Row]) -> dict[str, dict[str, Statistic]]:
    """What the augmented model has over each twin, seed by seed, with its 95 % interval; by twin."""
    trained = {row.variant for row in rows}
    twins = [twin for twin in (TWIN, FEWER) if {AUGMENTED, twin} <= trained]
    return {
        twin: {
            name: paired_difference(_values(rows, AUGMENTED, key), _values(rows, twin, key))
            for name, key in HEADLINE.items()
        }
        for twin in twins
    }


def _values(rows: Sequence[Row], variant: str, key: str) -> list[float]:
    return [float(row.headline[key]) for row in rows if row.variant == variant]
