"""`dgaug ablate`: the published ablation as one table, every line beside its real-only twins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgaug.data.prepare import read_data
from dgaug.data.recorded import read_run_data
from dgaug.data.records import class_names
from dgaug.device import AUTO, on_device
from dgaug.errors import DgaugError
from dgaug.figures.charts import Interval, intervals, save_figure
from dgaug.files import file_sha256, write_sealed_json
from dgaug.progress import Progress, named, silent
from dgaug.runs import Run, locked
from dgaug.scores.retrieval.held_out import held_out, require_cameras, require_evaluation, warn_of_leaks
from dgaug.scores.retrieval.ranking import Ranking
from dgaug.settings import load_settings, setting_texts
from dgaug.studies.feeds import TRUST, Labelling, open_source, require_policy, scheduled_count, seeded_feed
from dgaug.studies.study import (
    HEADLINE,
    Row,
    Statistic,
    Study,
    Variant,
    evaluated,
    flat,
    generated_per_step,
    over_seeds,
    paired_difference,
    write_table,
)
from dgaug.studies.train_reid import model_settings, twin_variants
from dgaug.surroundings import as_found
from dgaug.synthesis.job import synthesize
from dgaug.synthesis.pairs import parse_pairs, require_pairs
from dgaug.training.batches import LabelledImages
from dgaug.training.sampling import Share, require_identities
from dgaug.training.trackers import require_tracker
from dgaug.training.train import train

FULL, NO_FEEDING, NO_IDENTITY = "full", "without online feeding", "without identity supervision"
GENERATORS: dict[str, tuple[str, ...]] = {
    FULL: (),
    NO_FEEDING: ("loss.teacher=0",),
    NO_IDENTITY: ("loss.generated_identity=0",),
}
"""What each generator is trained without (method: ablation switches)."""
BASELINE, TWO_HEADS = "baseline", "two heads"
FEWER = ", as many real"
"""Ends the name of a twin that sees as many real images as the fed model, in smaller batches."""
PUBLISHED = "prim and fine"
LOSSES: dict[str, object] = {"labels": "soft", "teacher": 1.0, "fine": 0.2, "real_fine": 0.2}
"""The published ones: prim from the teacher's soft label, fine from the structure donor."""
PRIM = {"soft": "prim, soft labels", "appearance": "prim, appearance labels"}
STRUCTURES = 32
"""Generated images of each appearance, unless `pairs` says otherwise."""
CHARTS = ("table.png", "table.pdf")
PLOTTED = "mAP (sum, valid queries)"


@dataclass(frozen=True)
class Line:
    """A line of the table: a feature of a variant; its twins carry the name `twin`, with and without `FEWER`."""

    part: str
    name: str
    variant: str
    feature: str
    twin: str | None


LINES = (
    Line("published losses", "baseline", BASELINE, "prim", None),
    Line("published losses", "prim", PRIM["soft"], "prim", BASELINE),
    Line("published losses", "fine", PUBLISHED, "fine", TWO_HEADS),
    Line("published losses", "prim + fine", PUBLISHED, "both", TWO_HEADS),
    *(Line("prim by labels", name, name, "prim", BASELINE) for name in PRIM.values()),
    *(Line("generator", name, name, "both", TWO_HEADS) for name in GENERATORS),
)
"""Generators are compared by the recipe of the settings, the rest by the losses that its name says."""


@as_found
@on_device
def ablate(
    data: str | Path | None = None,
    config: str | Path | None = None,
    *,
    seeds: int = 3,
    seed: int | None = None,
    identities_fraction: float | None = None,
    images_per_identity: int | None = None,
    pairs: str | None = None,
    set: str | Iterable[str] = (),
    overrides: str | Iterable[str] = (),
    out: str | Path = "ablation",
    log: str | None = None,
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train the generators and the re-id models of the ablation and evaluate all; returns what `results.json` holds.

    One generator per variant, trained on the same images and labelled by the same teacher; `seeds` re-id models for
    each line. Goes on where an earlier call stopped.

    Args:
        data: a data set with query and gallery; None: the embedded one.
        config: preset or file for the settings; None: the preset `toy` without data.
        seeds: how many re-id models for each line.
        seed: of generators and the first re-id models; None: the settings'.
        identities_fraction: everything, the generators too, sees only this share of the training identities.
        images_per_identity: everything sees only so many images of each.
        pairs: what a generator makes, see `synthesize`; None: 32 structures for each appearance.
        set: `section.name=value` texts, as of `--set`, for generators and re-id models alike.
        overrides: the same.
        out: folder of runs, models and results.
        log: `tensorboard`, `wandb`, `mlflow` or `none`; None: the setting `checkpoint.tracker`.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: start over.

    Raises:
        DgaugError: wrong use or bad input. Interrupted: a signal arrived; everything was saved.
    """
    folder = Path(out)
    limits = {
        "data.identities_fraction": identities_fraction,
        "data.images_per_identity": images_per_identity,
        "checkpoint.tracker": log,
    }
    limited = [f"{name}={value}" for name, value in limits.items() if value is not None]
    chosen = setting_texts(overrides, set, limited)
    asked = load_settings(config or (None if data else "toy"), overrides=chosen)
    require_tracker(asked.checkpoint.tracker)
    require_policy(asked.reid.labels)
    if asked.reid.labels == TRUST or asked.reid.identity_mixup:
        raise DgaugError("dgaug ablate has no judge and no codes: remove reid.labels=trust and reid.identity_mixup")
    require_identities(asked.reid, "reid", Share(turns=asked.reid.accumulation))
    if pairs is not None:
        parse_pairs(pairs)
    if data is None:
        require_cameras(asked)
    else:
        content = read_data(Path(data), asked.data, splits=("train", "query", "gallery"), progress=progress)
        require_evaluation(content)
        warn_of_leaks(held_out(content, class_names(content.splits["train"])))
        if pairs is not None:
            require_pairs(pairs, content, seed=asked.seed)
    with locked(folder, what="ablation"):
        runs = _generators(data, config, chosen, folder / "generators", seed=seed, force=force, progress=progress)
        settings = model_settings(runs[FULL].settings(), "dgnet", ())
        content = read_run_data(runs[FULL], settings.data, splits=("train", "query", "gallery"))
        images = LabelledImages.of(content, settings.data.image_size)
        study = Study(settings, content, images, folder, progress)
        design = pairs or f"per-appearance:{min(STRUCTURES, len(images.paths) - 1)}"
        for run in runs.values():
            synthesize(run.folder, pairs=design, force=force, progress=progress)
        variants = _variants(runs, study)
        made_by = {name: file_sha256(run.checkpoint) for name, run in runs.items()}
        study.begin({"pairs": design, "generators": made_by}, force=force)
        rows = [study.row(variant, settings.seed + number) for number in range(seeds) for variant in variants]
        # The generators' own appearance encoders, which were fed while generator and encoder learned together.
        along = {name: evaluated(run.checkpoint, content, settings, progress) for name, run in runs.items()}
        return _write_results(study, rows, along, pairs=design)


def _generators(
    data: str | Path | None,
    config: str | Path | None,
    overrides: Sequence[str],
    folder: Path,
    *,
    seed: int | None,
    force: bool,
    progress: Progress,
) -> dict[str, Run]:
    full = train(
        data, config, overrides=overrides, out=folder / FULL, seed=seed, force=force, progress=named(progress, FULL)
    )
    runs = {FULL: full}
    for name, switched_off in GENERATORS.items():
        if name != FULL:
            runs[name] = train(
                full.data_root(),
                full.config,
                overrides=switched_off,
                out=folder / name.replace(" ", "-"),
                teacher=full.teacher,
                force=force,
                progress=named(progress, name),
            )
    return runs


def _variants(runs: Mapping[str, Run], study: Study) -> list[Variant]:
    reid = study.settings.reid
    generated = generated_per_step(reid)

    def fed(name: str, model: str, made_by: str, **changes: object) -> Variant:
        settings = reid.model_copy(update=changes)
        labelling = Labelling(settings.labels, settings.weighting == "confidence", None, None)
        sources = [open_source(runs[made_by].store, study.images, labelling)]
        return Variant(name, model, settings, seeded_feed(sources, labelling, scheduled_count(settings)))

    return [
        *twin_variants("baseline", reid, generated, names=(BASELINE, BASELINE + FEWER)),
        *(fed(name, "baseline", FULL, labels=labels) for labels, name in PRIM.items()),
        *twin_variants("dgnet", reid, generated, names=(TWO_HEADS, TWO_HEADS + FEWER)),
        fed(PUBLISHED, "dgnet", FULL, **LOSSES),
        *(fed(name, "dgnet", name) for name in GENERATORS),
    ]


def table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The lines: metrics over seeds, and paired differences to the twin of the same steps and of as many real ones."""
    return [_line(line, rows) for line in LINES]


def _line(line: Line, rows: Sequence[Row]) -> dict[str, Any]:
    own = {name: _values(rows, line.variant, line.feature, key) for name, key in HEADLINE.items()}
    against: dict[str, dict[str, Statistic]] = {}
    for twin in () if line.twin is None else (line.twin, line.twin + FEWER):
        against[twin] = {
            name: paired_difference(own[name], _values(rows, twin, line.feature, key)) for name, key in HEADLINE.items()
        }
    return {
        "part": line.part,
        "name": line.name,
        "model": line.variant,
        "feature": line.feature,
        "figures": {name: over_seeds(values) for name, values in own.items()},
        "minus": against,
        "by_seed": own,
    }


def _values(rows: Sequence[Row], variant: str, feature: str, key: str) -> list[float]:
    return [float(row.ranking[feature][key]) for row in rows if row.variant == variant]


def _write_results(
    study: Study, rows: list[Row], along: dict[str, dict[str, Ranking]], *, pairs: str
) -> dict[str, Any]:
    lines = table(rows)
    results = {
        "protocol": _protocol(study, sorted({row.seed for row in rows}), pairs),
        "table": lines,
        "trained_along": along,
        "runs": [{"variant": row.variant, "seed": row.seed, "ranking": row.ranking} for row in rows],
    }
    write_sealed_json(study.folder / "results.json", results)
    write_table(study.folder / "results.csv", flat(rows))
    write_table(study.folder / "table.csv", _flat_table(lines))
    chart = intervals([_interval(line) for line in lines], title=PLOTTED)
    for name in CHARTS:
        save_figure(chart, study.folder / name)
    return results


def _protocol(study: Study, seeds: list[int], pairs: str) -> dict[str, Any]:
    settings, images, reid = study.settings, study.images, study.settings.reid
    return {
        "seeds": seeds,
        "labels": reid.labels,
        "pairs": pairs,
        "optimiser_steps": reid.iterations,
        "real_per_step": reid.batch_size,
        "generated_per_step": generated_per_step(reid),
        "generators": "one per variant, the same teacher",
        "twins": f"same start and steps: as many pictures in a step, all real; {FEWER[2:]}: the real ones only",
        "fine_weight": reid.fine_at_test,
        "start": settings.model.start,
        "data": {"training_images": len(images.paths), "training_identities": len(images.class_names)},
        "held_out": held_out(study.data, images.class_names).described(),
    }


def _flat_table(lines: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    rows = []
    for line in lines:
        for name, statistic in line["figures"].items():
            row = {"part": line["part"], "name": line["name"], "figure": name, **statistic}
            for place, by_name in enumerate(line["minus"].values()):
                kind = ("same_steps", "as_many_real")[place]
                row |= {f"{kind}_{part}": by_name[name][part] for part in ("mean", "low", "high")}
            rows.append(row)
    return rows


def _interval(line: dict[str, Any]) -> Interval:
    against = next(iter(line["minus"].values()), None)
    rows = None if against is None else against[PLOTTED]
    return Interval(
        line["part"],
        line["name"],
        line["by_seed"][PLOTTED],
        None if rows is None else (rows["mean"], rows["low"], rows["high"]),
    )
