"""The generators and models of a study: one task for each, and what the study is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dgaug.data.prepare import fingerprint
from dgaug.data.records import IdentityData, class_names
from dgaug.errors import DgaugError
from dgaug.files import file_sha256, read_json
from dgaug.progress import Progress
from dgaug.runs import Run
from dgaug.scores.retrieval.held_out import GALLERY, QUERY, TRAIN, held_out
from dgaug.settings import Settings
from dgaug.studies.arms import ARMS, GENERATED, REAL
from dgaug.studies.curve_results import Trained
from dgaug.studies.estimate import Estimate, estimate
from dgaug.studies.plateau import Choice, Length, choose
from dgaug.studies.point_work import (
    ALSO,
    CODES_READY,
    RANKING,
    READY,
    SELECTED,
    STRUCTURES,
    Asked,
    PointWork,
    model_folder,
)
from dgaug.studies.points import Point, point, split_to_choose
from dgaug.studies.shared_tasks import Task
from dgaug.studies.study import HEADLINE, Row, generated_per_step
from dgaug.synthesis.pairs import require_pairs

MAP = HEADLINE["mAP (sum, valid queries)"]


@dataclass
class CurveStudy:
    """All points of a study, and what is trained at each."""

    asked: Asked
    settings: Settings
    data: IdentityData
    elsewhere: IdentityData | None
    outside: Run | None
    folder: Path
    progress: Progress
    work: PointWork = field(init=False)

    def __post_init__(self) -> None:
        self.work = PointWork(self.asked, self.settings, self.outside, self.elsewhere, self.progress, self.tried_arms)

    @property
    def points(self) -> list[Point]:
        """All of them, repeat by repeat, so that what is done is a study of fewer repeats."""
        return [
            self._point(fraction, repeat) for repeat in range(self.asked.repeats) for fraction in self.asked.fractions
        ]

    @property
    def tried_arms(self) -> list[str]:
        """The arms whose lengths are tried: real, and for all that are fed the first that needs no judge.

        Arms that are added later are trained as long as those that are there, so the arm that was tried then counts.
        """
        if len(self.asked.lengths) == 1:
            return []
        able = [name for name, arm in ARMS.items() if arm.fed and arm.keep is None and arm.tests is None]
        before = [name for name in able if any(self.folder.glob(f"*/chosen/seed{self.settings.seed}-{name}-[0-9]*"))]
        fed = [*before, *(name for name in able if name in self.asked.arms), GENERATED]
        return [REAL, fed[0]] if self._is_fed else [REAL]

    def require_points(self) -> None:
        """Refuse a point on which no length can be chosen, before anything is trained."""
        for fraction in self.asked.fractions if self.tried_arms else ():
            split_to_choose(self._point(fraction, 0), self.data)

    def require_lengths(self) -> None:
        """Refuse fed arms in a folder whose models were trained as long as the real arm alone needs."""
        tried = self.tried_arms
        for fraction in self.asked.fractions if tried else ():
            folder = self.folder / f"{fraction:g}"
            real, last = (any(folder.glob(f"chosen/seed*-{arm}-[0-9]*/{RANKING}")) for arm in (REAL, tried[-1]))
            if real and not last and any(folder.glob(f"repeat*/seed*/{RANKING}")):
                raise DgaugError(
                    f"the models in {self.folder} were trained for a number of steps that was chosen without "
                    f"{tried[-1]!r}; choose another --out, or --force starts over"
                )

    def require_pairs(self) -> None:
        """Refuse pairs that the images of a point do not make, before anything is trained."""
        if self.asked.pairs is None or not self._is_fed:
            return
        for one in self.points:
            require_pairs(self.asked.pairs, one.data, seed=one.settings.seed, where=f" at {one.title}")

    def tasks(self) -> list[Task]:
        """Every generator, trial and model of the study, in the order in which they are worked on."""
        tasks = []
        for one in self.points:
            if self._is_fed:
                tasks += self._generator_tasks(one)
            if one.repeat == 0:
                tasks += [
                    self._trial_task(one, arm, length) for arm in self.tried_arms for length in self.asked.lengths
                ]
            tasks += [self._model_task(one, arm) for arm in self.asked.arms]
        return tasks

    def trained(self) -> list[Trained]:
        """What became of every model."""
        return [self._trained(one, arm) for one in self.points for arm in self.asked.arms]

    def described(self) -> dict[str, object]:
        """What the models of the folder depend on; arms, fractions and repeats may be added later."""
        sections = self.settings.model_dump(mode="json")
        kept = ("data", "model", "teacher", "loss", "schedule", "optimizer", "behaviour", "reid")
        free = ("data.root", "data.workers", "behaviour.graphs", "behaviour.tf32", "behaviour.deterministic")
        values = {f"{part}.{name}": value for part in kept for name, value in sections[part].items()}
        return {
            "fingerprint": fingerprint(self.data),
            "seed": self.settings.seed,
            "--model": self.asked.model,
            "--axis": self.asked.axis,
            "--pairs": self.asked.pairs,
            "--steps and --rates": [str(length) for length in self.asked.lengths],
            "--generator": None if self.outside is None else file_sha256(self.outside.checkpoint),
            "--also": None if self.elsewhere is None else _fingerprint_of_test(self.elsewhere),
            **{name: value for name, value in values.items() if name not in free},
        }

    def protocol(self) -> dict[str, object]:
        """What a result records of how it was made."""
        reid, asked = self.settings.reid, self.asked
        return {
            "model": asked.model,
            "backbone": self.settings.model.backbone,
            "axis": asked.axis,
            "fractions": asked.fractions,
            "repeats": asked.repeats,
            "seeds": [self.settings.seed + repeat for repeat in range(asked.repeats)],
            "arms": {name: ARMS[name].text for name in asked.arms},
            "labels": reid.labels,
            "pairs": asked.pairs or f"per-appearance:{STRUCTURES}",
            "generator": self._generator_text(),
            "images_per_step": {
                "real": reid.batch_size,
                "generated or further real": generated_per_step(reid),
            },
            "chosen": {f"{fraction:g}": self._choice(fraction).described() for fraction in asked.fractions},
            "chosen_on": "training identities held out for it, seed of the first repeat"
            if self.tried_arms
            else "nothing: one length was given",
            "evaluation": "single query, flip-averaged features; junk dropped, distractors kept",
            "data": {
                "layout": self.data.layout,
                "training_images": len(self.data.splits[TRAIN]),
                "training_identities": len(class_names(self.data.splits[TRAIN])),
            },
            "held_out": held_out(self.data, class_names(self.data.splits[TRAIN])).described(),
            "also": None if self.elsewhere is None else self.elsewhere.layout,
        }

    def estimated(self) -> Estimate:
        """How many models, and about how many seconds on this machine."""
        steps = max(length.steps for length in self.asked.lengths)
        return estimate(
            self.settings,
            self.asked.model,
            self.data,
            generators=len(self.points) if self._is_fed else 0,
            trained_here=self.outside is None,
            trials=[length.steps for length in self.asked.lengths] * len(self.tried_arms) * len(self.asked.fractions),
            models=[steps] * (len(self.points) * sum(ARMS[name].tests is None for name in self.asked.arms)),
        )

    @property
    def _is_fed(self) -> bool:
        return any(ARMS[name].fed for name in self.asked.arms)

    def _generator_text(self) -> str:
        if self.outside is not None:
            return f"from outside: {self.outside.folder.name}, which saw other images than those of the point"
        if self.settings.model.start != "none":
            return f"trained at each point, from the pretrained {self.settings.model.start}, which saw other images"
        return "trained at each point on its images alone"

    def _point(self, fraction: float, repeat: int) -> Point:
        return point(self.data, self.settings, self.asked.axis, fraction, repeat, self.folder)

    def _generator_tasks(self, one: Point) -> list[Task]:
        folder, ready = one.folder / "generator", one.folder / READY
        tasks = [Task(f"generator, {one.title}", folder, ready, (), lambda: self.work.generate(one))]
        if any(ARMS[name].needs_codes for name in {*self.asked.arms, *self.tried_arms}):
            codes = one.folder / CODES_READY
            tasks.append(Task(f"codes, {one.title}", folder, codes, (ready,), lambda: self.work.encode(one)))
        return tasks

    def _trial_task(self, one: Point, arm: str, length: Length) -> Task:
        folder = self._trial_folder(one, arm, length)
        return Task(
            f"trial of {length}, {arm}, fraction {one.fraction:g}",
            folder,
            folder / RANKING,
            tuple(self.work.needs(one, ARMS[arm])),
            lambda: self._try(one, arm, length),
        )

    def _trial_folder(self, one: Point, arm: str, length: Length) -> Path:
        return one.folder.with_name("chosen") / f"seed{one.settings.seed}-{arm}-{str(length).replace(' ', '-')}"

    def _try(self, one: Point, arm: str, length: Length) -> None:
        folder = self._trial_folder(one, arm, length)
        held_out_data = replace(one, data=split_to_choose(one, self.data), folder=folder.parent)
        self.work.train(held_out_data, one, arm, length, str(length))
        (folder / "last.pt").unlink()

    def _model_task(self, one: Point, arm: str) -> Task:
        folder = model_folder(one, arm)
        first = self._point(one.fraction, 0)
        needs = [
            self._trial_folder(first, tried, length) / RANKING
            for tried in self.tried_arms
            for length in self.asked.lengths
        ]
        needs += self.work.needs(one, ARMS[arm])
        finished = folder / (RANKING if self.elsewhere is None else ALSO)
        return Task(
            f"{arm}, {one.title}",
            folder,
            finished,
            tuple(needs),
            lambda: self.work.compare(one, arm, self._length(one.fraction, arm)),
        )

    def require_labels(self) -> None:
        """Refuse arms that need the soft labels which the stores in the folder were made without."""
        made = [one.folder / READY for one in self.points if (one.folder / READY).is_file()]
        if self.work.needs_labels and not all(read_json(file).get("labels") for file in made):
            raise DgaugError(
                f"the stores in {self.folder} have no soft labels, which these --arms need; choose another --out, or "
                "--force starts over"
            )

    def _choice(self, fraction: float) -> Choice:
        if not self.tried_arms:
            return Choice(self.asked.lengths[0].steps, {REAL: self.asked.lengths[0].rate}, {}, ())
        first = self._point(fraction, 0)
        tried = {
            arm: {
                length: _metric(read_json(self._trial_folder(first, arm, length) / RANKING))
                for length in self.asked.lengths
            }
            for arm in self.tried_arms
        }
        return choose(tried)

    def _length(self, fraction: float, arm: str) -> Length:
        choice = self._choice(fraction)
        tried = self.tried_arms[-1] if ARMS[arm].fed and self.tried_arms else REAL
        return Length(choice.steps, choice.rates[tried])

    def _trained(self, one: Point, arm: str) -> Trained:
        folder, images = model_folder(one, arm), one.data.splits[TRAIN]
        also = None if self.elsewhere is None else read_json(folder / ALSO)
        row = Row(arm, one.settings.seed, read_json(folder / RANKING))
        # A folder of an earlier version does not say what a judge left out.
        chosen = read_json(folder / SELECTED) if (folder / SELECTED).is_file() else None
        return Trained(one.fraction, one.repeat, len(images), len(class_names(images)), row, also, chosen)


def _fingerprint_of_test(data: IdentityData) -> str:
    return fingerprint(replace(data, splits={TRAIN: [*data.splits[QUERY], *data.splits[GALLERY]]}))


def _metric(ranking: Mapping[str, Any]) -> float:
    return float(Row("", 0, dict(ranking)).headline[MAP])
