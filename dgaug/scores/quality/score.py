"""`dgaug score-fid`: how good generated images are, each score with everything that moves it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dgaug.data.loading import default_threads
from dgaug.device import AUTO, default_device, on_device
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.outputs import already_complete, remove
from dgaug.progress import Progress, silent
from dgaug.runs import locked
from dgaug.scores.quality.donor_metrics import Compute, Donors, Judges, judged_scores
from dgaug.scores.quality.encoders import Encoder
from dgaug.scores.quality.feature_metrics import Features
from dgaug.scores.quality.feature_statistics import Encoding, Given, Statistics, statistics_of
from dgaug.scores.quality.fid_protocols import Preparation, Protocol
from dgaug.scores.quality.identity_consistency import SeenIdentity, seen_identity
from dgaug.scores.quality.image_sets import ImageSet, Rows
from dgaug.scores.quality.inputs import find_subject
from dgaug.scores.quality.metrics import METRICS
from dgaug.scores.quality.plan import JUDGED, Plan, plan_of
from dgaug.scores.quality.results import (
    SCORES,
    finished_result,
    plot_clouds,
    plot_duplicates,
    plot_extremes,
    plot_pairs,
    plot_unjudged_extremes,
    write_result,
)
from dgaug.surroundings import as_found

STATISTICS = "statistics"
EXTREMES, DUPLICATES_SHEET, PAIRS = "worst-and-best.png", "near-duplicates.png", "pairs.png"
SHOWN_DUPLICATES = 12

_log = logging.getLogger("dgaug")


@as_found
@on_device
def score_fid(
    target: str | Path | None = None,
    *,
    run: str | Path = "latest",
    real: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    protocol: str = "clean",
    inception_weights: str | Path | None = None,
    encoder: str | None = None,
    teacher: str | Path | None = None,
    judge: str | None = None,
    seed: int = 0,
    workers: int | None = None,
    device: str = AUTO,
    out: str | Path | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score generated images against real ones; returns what `scores.json` holds, made now or found complete.

    Args:
        target: a store, any folder of images, a manifest, or statistics (npz); None: the run's store.
        run: the run that gives store, real images and teacher; a store inside a run belongs to that run.
        real: a data set or manifest, whose training images are the reference; else any folder, store or npz.
        metrics: some of `METRICS`; None: all that can be computed. `fid` and `kid` need the FID Inception weights;
            `frechet` and `kernel` use `encoder`, or the teacher, and are named after it.
        protocol: `clean` or `published`, see `dgaug.scores.quality.fid_protocols.Protocol`.
        inception_weights: file of the FID Inception weights, if they are not in the cache, or `download`.
        encoder: `NAME=FILE`, a timm model and its weights, for `frechet` and `kernel`.
        teacher: the re-id checkpoint whose opinion counts as the teacher's; None: the run's teacher.
        judge: an independent judge of identity: a re-id checkpoint, or `NAME=FILE`, a timm model and its weights.
        seed: of every sample that is drawn.
        workers: threads that read images beside this one; None: 0 on the CPU, up to 8 beside a GPU.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        out: folder for results and statistics; None: `scores/` in the run.
        force: throw away the results and statistics that are there.

    Raises:
        DgaugError: wrong use or bad input, a metric asked for by name that cannot be computed, or results with other
            settings in the folder.
        Interrupted: a signal arrived; the same call resumes where it stopped.
    """
    chosen = Protocol(protocol, seed)
    for name in metrics or ():
        if name not in METRICS:
            raise DgaugError(f"unknown metric {name!r}; known are {', '.join(METRICS)}")
    subject = find_subject(target, run=run, real=real, teacher=teacher, out=out, progress=progress)
    plan = plan_of(subject, chosen, metrics=metrics, inception_weights=inception_weights, encoder=encoder, judge=judge)
    described, folder = plan.described(), subject.folder
    with stop_requests() as stop, nullcontext() if folder is None else locked(folder, what="scores"):
        if folder is not None:
            if force:
                remove(folder / SCORES, folder / STATISTICS)
            finished = finished_result(folder, described)
            if finished is not None:
                already_complete(folder / SCORES)
                return finished
        cache = None if folder is None else folder / STATISTICS
        count = default_threads(default_device()) if workers is None else workers
        result = {"protocol": described, "scores": _scores(plan, Encoding(cache, count, stop, progress))}
        stop.leave()
        if folder is not None:
            write_result(folder, result)
            _log.info("scores and images: %s", folder)
        return result


def _scores(plan: Plan, encoding: Encoding) -> dict[str, Any]:
    """All scores that are wanted and can be taken; images are drawn on the way."""
    folder, wanted = plan.subject.folder, plan.of_donors
    donors = plan.donors if wanted else ""
    scores: dict[str, Any] = {}
    judges = Judges(plan.subject.teacher, _judging(plan, donors, encoding))
    takeable: list[Compute] = []
    for metric in wanted:
        assert metric.of_donors is not None
        compute = donors if isinstance(donors, str) else metric.of_donors(donors, judges)
        if not isinstance(compute, str):
            takeable.append(compute)
        elif plan.metrics is not None:
            raise DgaugError(f"--metrics {metric.name}: {compute}")
    for number, encoder in enumerate(plan.encoders):
        features = _features(plan, encoder, encoding)
        for metric in plan.of_features(encoder):
            assert metric.of_features is not None
            scores |= metric.of_features(features, plan.protocol.seed)
        if folder is not None and number == 0:
            _plot_features(plan, features, folder)
    for take in takeable:
        scores |= take()
        if encoding.stop is not None:
            encoding.stop.leave()
    if folder is not None and isinstance(donors, Donors):
        plot_pairs(donors, folder / PAIRS)
        if plan.judge is None:
            plot_unjudged_extremes(donors, folder / EXTREMES, wants=plan.wants)
    return scores


def _judging(plan: Plan, donors: Donors | str, encoding: Encoding) -> Callable[[], dict[str, Any]] | None:
    """Asks the independent judge and draws the worst and the best images; None without a judge."""
    judge = plan.judge
    if judge is None or isinstance(donors, str):
        return None

    def judged() -> dict[str, Any]:
        rows, seen, ceiling = _judged(judge, donors, encoding)
        if plan.subject.folder is not None and len(seen.rows) >= 2:
            what = f"cosine to the appearance identity ({judge.name})"
            plot_extremes(donors, rows[seen.rows], seen.appearance_cosine, plan.subject.folder / EXTREMES, what=what)
        return judged_scores(seen, ceiling)

    return judged


def _features(plan: Plan, encoder: Encoder, encoding: Encoding) -> Features:
    sides: dict[str, Statistics | Given] = {}
    for title, chosen in (("real", plan.real), ("generated", plan.generated)):
        if isinstance(chosen, Given):
            chosen.require(encoder)
            sides[title] = chosen
            continue
        sides[title] = statistics_of(
            chosen.images,
            chosen.rows,
            encoder,
            preparation=chosen.preparation,
            encoding=encoding,
            title=title,
            digest=chosen.digest,
        )
    return Features(encoder, sides["generated"], sides["real"], plan.no_reconstructions())


def _judged(judge: Encoder, donors: Donors, encoding: Encoding) -> tuple[Rows, SeenIdentity, SeenIdentity]:
    """The rows that the judge was asked about, whom it sees there, and whom in as many real images."""
    sources = donors.store.sources
    preparation = Preparation(donors.store.spec.image_size)
    originals = ImageSet("sources", donors.root, [donors.root / path for path in sources.path])
    rows = donors.images.choice(JUDGED, donors.seed, among=donors.crossed)

    def judged(images: ImageSet, rows: Rows, title: str) -> torch.Tensor:
        return statistics_of(
            images,
            rows,
            judge,
            preparation=preparation,
            encoding=encoding,
            title=title,
            digest=images.digest(rows),
            keep=len(rows),
        ).features

    real = judged(originals, np.arange(len(originals)), "judged-real")
    generated = judged(donors.images, rows, "judged-generated")
    among_real = originals.choice(JUDGED, donors.seed)
    appearance, structure = donors.pairs[rows].T
    seen = seen_identity(generated, appearance, structure, real=real, identity=sources.identity)
    ceiling = seen_identity(real[among_real], among_real, among_real, real=real, identity=sources.identity)
    return rows, seen, ceiling


def _plot_features(plan: Plan, features: Features, folder: Path) -> None:
    """The clouds of an encoder, and the generated images that lie nearest to a real one."""
    kept = features.kept()
    if kept is None or isinstance(plan.generated, Given) or isinstance(plan.real, Given):
        return
    plot_clouds(*kept, folder / f"clouds-{features.encoder.name}.png", features.encoder.name)
    near = features.duplicates if plan.wants("duplicates") else None
    if near is None:
        return
    nearest = near.worst(SHOWN_DUPLICATES)
    rows = plan.generated.rows[: len(kept[0])]
    if features.crossed is not None:
        rows = rows[features.crossed.numpy()]
    plot_duplicates(
        plan.generated.images,
        rows[nearest],
        plan.real.images,
        plan.real.rows[near.neighbour[nearest]],
        folder / DUPLICATES_SHEET,
    )
