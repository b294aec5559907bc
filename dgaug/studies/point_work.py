"""What is made at a point of a study: a generator with its stores, and the models of every arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dgaug.data.records import IdentityData
from dgaug.device import default_device
from dgaug.distributed import Processes
from dgaug.files import file_sha256, write_sealed_json
from dgaug.models.checkpoints import load_generator
from dgaug.progress import Progress, named
from dgaug.runs import Run
from dgaug.scores.retrieval.held_out import TRAIN
from dgaug.scores.retrieval.structure_average import structures_of
from dgaug.settings import Settings
from dgaug.studies.arms import ARMS, REAL, Arm, source_of, variant
from dgaug.studies.feeds import open_source
from dgaug.studies.plateau import Length
from dgaug.studies.points import Point
from dgaug.studies.selection import Selection, require_judge, selected
from dgaug.studies.study import Study, evaluated
from dgaug.synthesis.job import synthesize
from dgaug.training.batches import LabelledImages
from dgaug.training.reid_loop import train_reid_network
from dgaug.training.train import teacher_job, train

STRUCTURES = 32
"""Generated images of each appearance, unless `pairs` says otherwise."""
READY, CODES_READY = "generator.json", "codes.json"
"""There when generator and store of a point are, and when its store of codes is; what they are."""
RANKING = "ranking.json"
ALSO = "also.json"
"""The ranking of a model on the other data set, beside its `ranking.json`."""
SELECTED = "selected.json"
"""What a judge left of the images that a model was fed with."""


@dataclass(frozen=True)
class Asked:
    """What the caller asks for, checked; `pairs` None: `STRUCTURES` of each appearance."""

    fractions: list[float]
    axis: str
    arms: list[str]
    model: str
    repeats: int
    lengths: list[Length]
    pairs: str | None
    preset: str | Path | None
    overrides: list[str]


@dataclass
class PointWork:
    """How generators and models are made; what all points have in common.

    Attributes:
        outside: the run whose generator makes the images of every point; None: one is trained at each.
        elsewhere: another data set to evaluate every model on; None: none.
        tried: the arms whose lengths are tried, some of an earlier call.
    """

    asked: Asked
    settings: Settings
    outside: Run | None
    elsewhere: IdentityData | None
    progress: Progress
    tried: Sequence[str] = ()
    _images: dict[tuple[Path, int], LabelledImages] = field(default_factory=dict)

    @property
    def needs_labels(self) -> bool:
        """Whether an arm needs the teacher's soft labels."""
        fed = [ARMS[name] for name in (*self.asked.arms, *self.tried) if ARMS[name].fed]
        return any(arm.labelling(self.settings.reid).needs_teacher for arm in fed)

    def generate(self, one: Point) -> None:
        """A generator trained on a point, or the outside one, and its store of the point's pairs."""
        progress = named(self.progress, one.title)
        if self.outside is None:
            run = train(
                one.data.source,
                self.asked.preset,
                overrides=[*self.asked.overrides, *one.limits],
                seed=one.settings.seed,
                out=one.folder / "generator" / "run",
                progress=progress,
            )
            teacher = run.teacher
        else:
            teacher = one.folder / "generator" / "teacher" / "last.pt"
            if self.needs_labels:
                job = teacher_job(one.settings, self._labelled(one.folder, one.data))
                every = self.settings.checkpoint.every
                here = Processes(default_device())
                train_reid_network(job, teacher, processes=here, save_every=every, progress=progress)
        labels = teacher if teacher.is_file() else "none"
        synthesize(
            checkpoint=self._checkpoint(one), data=one.data, teacher=labels, pairs=self._pairs(one),
            seed=one.settings.seed, out=one.folder / "store", progress=progress,
        )  # fmt: skip
        write_sealed_json(one.folder / READY, self._made(one) | {"labels": labels != "none"})

    def encode(self, one: Point) -> None:
        """The store of codes of the same pairs."""
        synthesize(
            checkpoint=self._checkpoint(one), data=one.data, teacher="none", pairs=self._pairs(one), codec="codes",
            seed=one.settings.seed, out=one.folder / "codes", progress=named(self.progress, one.title),
        )  # fmt: skip
        write_sealed_json(one.folder / CODES_READY, self._made(one))

    def needs(self, one: Point, arm: Arm) -> list[Path]:
        """The files of other tasks that must be there before an arm is trained or tested at a point."""
        files = []
        if arm.fed:
            files.append(one.folder / (CODES_READY if arm.needs_codes else READY))
        if arm.keep is not None:
            files.append(model_folder(one, REAL) / RANKING)
        if arm.tests is not None:
            files.append(model_folder(one, arm.tests) / RANKING)
        return files

    def compare(self, one: Point, name: str, length: Length) -> None:
        """Train and evaluate an arm at a point, or evaluate the models of another one on structures."""
        tested = ARMS[name].tests
        if tested is not None:
            self._test_on_structures(one, name, model_folder(one, tested))
            return
        self.train(one, one, name, length, "")
        if self.elsewhere is not None:
            folder = model_folder(one, name)
            ranking = evaluated(folder / "last.pt", self.elsewhere, self.settings, self.progress)
            write_sealed_json(folder / ALSO, ranking)

    def train(self, place: Point, one: Point, name: str, length: Length, title: str) -> None:
        """Train and evaluate an arm on the data of `place`, fed from the store of `one`."""
        arm, images = ARMS[name], self._labelled(place.folder, place.data)
        reid = self.settings.reid
        reid = reid.model_copy(
            update={"iterations": length.steps, "learning_rate": reid.learning_rate * length.rate}, deep=True
        )
        progress = named(self.progress, one.title)
        source = None
        if arm.fed:
            source = open_source(one.folder / ("codes" if arm.needs_codes else "store"), images, arm.labelling(reid))
            source = source_of(name, source, images, place.data.root)
        if source is not None and arm.keep is not None:
            # The real-only model: trained on the same images as the teacher, from another start.
            selection = Selection(model_folder(one, REAL) / "last.pt", arm.keep, arm.by)
            source, made = selected(
                source, selection, require_judge(selection, [source], []), images, progress=progress
            )
            write_sealed_json(model_folder(one, name) / SELECTED, made.described())
        made_of = variant(name, self.asked.model, reid, source, title=f"{name} {title}".strip())
        settings = one.settings.model_copy(update={"reid": reid})
        models = Study(settings, place.data, images, place.folder, progress)
        models.row(made_of, one.settings.seed)

    def _test_on_structures(self, one: Point, name: str, trained: Path) -> None:
        """Evaluate the models in a folder as the arm that tests them on structures."""
        folder = model_folder(one, name)
        generator = load_generator(self._checkpoint(one))
        structures = structures_of(generator, one.data, ARMS[name].structures, seed=one.settings.seed)
        for data, file in ((one.data, RANKING), (self.elsewhere, ALSO)):
            if data is not None:
                ranking = evaluated(trained / "last.pt", data, self.settings, self.progress, structures)
                write_sealed_json(folder / file, ranking)

    def _checkpoint(self, one: Point) -> Path:
        run = Run(one.folder / "generator" / "run") if self.outside is None else self.outside
        return run.checkpoint

    def _pairs(self, one: Point) -> str:
        return self.asked.pairs or f"per-appearance:{min(STRUCTURES, len(one.data.splits[TRAIN]) - 1)}"

    def _made(self, one: Point) -> dict[str, object]:
        return {"generator_sha256": file_sha256(self._checkpoint(one)), "pairs": self._pairs(one)}

    def _labelled(self, folder: Path, data: IdentityData) -> LabelledImages:
        """The training images of one place at a time, kept while its models are trained."""
        key = (folder, len(data.splits[TRAIN]))
        if key not in self._images:
            self._images.clear()
            self._images[key] = LabelledImages.of(data, self.settings.data.image_size)
        return self._images[key]


def model_folder(one: Point, arm: str) -> Path:
    """Where the model of an arm lies at a point."""
    return one.folder / f"seed{one.settings.seed}-{arm}"
