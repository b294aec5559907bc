"""Re-id models that are compared: each trained and evaluated once, in a folder that is resumed after a stop.

Metrics over seeds have a mean and a spread, paired differences a confidence interval.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dgaug.cuda_math import training_math
from dgaug.data.prepare import fingerprint
from dgaug.data.records import IdentityData
from dgaug.device import default_device
from dgaug.distributed import Processes
from dgaug.files import read_json, whole, write_json, write_sealed_json
from dgaug.models.architectures import ARCHITECTURES
from dgaug.models.checkpoints import load_reid
from dgaug.outputs import already_complete, remove, require_same_settings
from dgaug.progress import Progress
from dgaug.scores.retrieval.evaluate import evaluate_network
from dgaug.scores.retrieval.protocols import Tables
from dgaug.scores.retrieval.ranking import Ranking
from dgaug.scores.retrieval.structure_average import Structures
from dgaug.settings import FeedSettings, Settings
from dgaug.store.policies import policy_classes
from dgaug.training.batches import LabelledImages
from dgaug.training.log import TrainingLog
from dgaug.training.reid_loop import ReidJob, train_reid_network
from dgaug.training.reid_losses import Feed, fullest_iteration, generated_at, term_weights
from dgaug.training.trials import reid_trial, require_room

STUDY = "study.json"
"""What the models in the folder were trained with."""
HEADLINE = {
    "rank-1": "sum_valid_queries/R1",
    "mAP (sum, valid queries)": "sum_valid_queries/mAP",
    "mAP (trapezoid, all queries)": "trapezoid_all_queries/mAP",
}
CONFIDENCE = 0.95
Statistic = dict[str, float | int | None]


@dataclass(frozen=True)
class Variant:
    """One kind of model.

    Attributes:
        name: in tables and, with its seed, of its folder.
        model: of `ARCHITECTURES`.
        reid: how it is trained; `batch_size` real images in a step.
        feed: the generated images of a seed; None: real ones only.
    """

    name: str
    model: str
    reid: FeedSettings
    feed: Callable[[int], Feed] | None = None

    @property
    def slug(self) -> str:
        """Its name as a folder's."""
        return self.name.replace(",", "").replace("+", "and").replace(" ", "-")


@dataclass(frozen=True)
class Row:
    """One trained model: its variant, its seed, its ranking metrics by feature."""

    variant: str
    seed: int
    ranking: dict[str, Ranking]

    @property
    def headline(self) -> Ranking:
        """The metrics of all it has: both heads where there are two."""
        return self.ranking.get("both", self.ranking["prim"])


@dataclass(frozen=True)
class Study:
    """What all models that are compared have in common."""

    settings: Settings
    data: IdentityData
    images: LabelledImages
    folder: Path
    progress: Progress

    def row(self, variant: Variant, seed: int) -> Row:
        """A model trained and evaluated, or what became of it before."""
        folder = self.folder / f"seed{seed}-{variant.slug}"
        finished = folder / "ranking.json"
        if finished.is_file():
            already_complete(folder)
        else:
            write_sealed_json(finished, self._trained_and_evaluated(folder / "last.pt", variant, seed))
        ranking: dict[str, Any] = read_json(finished)
        return Row(variant.name, seed, ranking)

    def _trained_and_evaluated(self, checkpoint: Path, variant: Variant, seed: int) -> dict[str, Ranking]:
        job, processes = self._job(variant, seed), Processes(default_device())
        every = self.settings.checkpoint.log
        with training_math(self.settings.behaviour, processes.device):
            trial = reid_trial(
                job.settings, job.architecture, processes, image_size=job.images.image_size, feed=job.feed
            )
            require_room(trial, job.settings, "reid", processes)
            with closing(TrainingLog(checkpoint.with_name("log.jsonl"), start=0, settings=self.settings)) as log:

                def write(iteration: int, terms: Mapping[str, float]) -> None:
                    if iteration % every == 0 or iteration + 1 == job.settings.iterations:
                        log.write("re-id", iteration, terms, term_weights(job.settings, iteration))

                train_reid_network(
                    job,
                    checkpoint,
                    processes=processes,
                    save_every=self.settings.checkpoint.every,
                    progress=self.progress,
                    on_log=write,
                )
                ranking = evaluated(checkpoint, self.data, self.settings, self.progress)
                for feature, values in ranking.items():
                    numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
                    log.write(f"ranking of {feature}", job.settings.iterations, numbers, {})
        return ranking

    def _job(self, variant: Variant, seed: int) -> ReidJob:
        # A twin has the classes of the model it is compared with, so that both start from the same weights.
        names = policy_classes(variant.reid.labels, self.images.class_names)
        return ReidJob(
            self.images,
            variant.reid,
            self.settings.data,
            ARCHITECTURES[variant.model](self.settings, len(names)),
            weights=self.settings.model.weights,
            seed=seed,
            feed=None if variant.feed is None else variant.feed(seed),
            class_names=names,
            phase="re-id",
            title=f"re-id, {variant.name}, seed {seed}",
        )

    def begin(self, more: Mapping[str, object], *, force: bool) -> None:
        """Record what the models of this folder are trained with.

        Raises:
            DgaugError: it holds models that were trained with something else; names it.
        """
        if force and (self.folder / STUDY).is_file():
            remove(*self.folder.glob("seed*-*"), self.folder / STUDY)
        settings = self.settings.model_dump(mode="json")
        described: dict[str, object] = {
            "data": fingerprint(self.data),
            "image_size": list(self.settings.data.image_size),
            **{f"{part}.{name}": value for part in ("reid", "model") for name, value in settings[part].items()},
            **more,
        }
        record_study(self.folder, described, begun=any(self.folder.glob("seed*-*/last.pt")))


def evaluated(
    checkpoint: Path, data: IdentityData, settings: Settings, progress: Progress, structures: Structures | None = None
) -> Tables:
    """The metrics of a re-id model by feature, computed on the default device; `structures`: see `evaluate_network`."""
    return evaluate_network(
        load_reid(checkpoint).network.to(default_device()),
        data,
        image_size=settings.data.image_size,
        fine_weight=settings.reid.fine_at_test,
        structures=structures,
        progress=progress,
    )


def record_study(folder: Path, described: Mapping[str, object], *, begun: bool) -> None:
    """Write `study.json`; where models are there already (`begun`), refuse to train others beside them.

    Raises:
        DgaugError: names what differs.
    """
    path = folder / STUDY
    if path.is_file() and begun:
        # A folder of an earlier version does not name the settings that came later.
        before = _default_settings() | read_json(path)
        require_same_settings(folder, {name: before.get(name) for name in described}, described)
    write_json(path, described)


def _default_settings() -> dict[str, object]:
    sections = Settings().model_dump(mode="json").items()
    return {
        f"{part}.{name}": value for part, names in sections if isinstance(names, dict) for name, value in names.items()
    }


def generated_per_step(reid: FeedSettings) -> int:
    """Generated images in a step that has some; the most there are where the ratio changes."""
    return generated_at(reid, fullest_iteration(reid))


def flat(rows: Sequence[Row]) -> list[dict[str, object]]:
    """A line a model and feature, for a table file."""
    return [
        {"variant": row.variant, "seed": row.seed, "feature": feature} | ranking
        for row in rows
        for feature, ranking in row.ranking.items()
    ]


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a CSV file whole."""
    with whole(path) as aside:
        pd.DataFrame(rows).to_csv(aside, index=False)


def over_seeds(values: Sequence[float]) -> Statistic:
    """Mean and sample standard deviation (None for one seed) of a metric."""
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "spread": spread, "seeds": len(values)}


def paired_difference(values: Sequence[float], twins: Sequence[float]) -> Statistic:
    """Mean of value minus twin, seed by seed, and its 95 % interval by Student's t over the seeds.

    Without a second seed the interval is None. It covers what the seed decides (start, order, draws), not the choice of
    the images, of the test identities or of the generator, which all seeds share.
    """
    from scipy.stats import t

    differences = [value - twin for value, twin in zip(values, twins, strict=True)]
    summary = over_seeds(differences)
    if len(differences) < 2:
        return summary | {"low": None, "high": None}
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * statistics.stdev(differences)
    half /= len(differences) ** 0.5
    mean = statistics.fmean(differences)
    return summary | {"low": mean - half, "high": mean + half}
