"""`dgaug study`: what generated images are worth, read off the learning curve of models that see real ones only."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dgaug.data.prepare import fingerprint, limited, read_data, write_embedded_data
from dgaug.data.records import IdentityData, class_names
from dgaug.data.toy import is_toy
from dgaug.device import AUTO, default_device, on_device, usable_cuda, use_device
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.files import file_sha256, read_json, write_figures
from dgaug.launched import alone
from dgaug.models.architectures import ARCHITECTURES
from dgaug.models.checkpoints import load_reid
from dgaug.progress import Progress, named, silent
from dgaug.runs import Run, find_run, lock
from dgaug.scores.retrieval.evaluate import evaluate_network
from dgaug.scores.retrieval.held_out import (
    GALLERY,
    QUERY,
    TRAIN,
    held_out,
    require_cameras,
    require_evaluation,
    warn_of_leaks,
)
from dgaug.settings import Settings, load_settings, setting_texts
from dgaug.studies.arms import ARMS, GENERATED, REAL, TRUE, USUAL, require_arms, source_of, variant
from dgaug.studies.curve_results import ALSO, FILES, Trained, write_results
from dgaug.studies.estimate import Estimate, estimate
from dgaug.studies.feeds import TRUST, open_source, require_policy
from dgaug.studies.plateau import Choice, Length, choose, lengths_of
from dgaug.studies.points import (
    FRACTIONS,
    SEEDED_LIMITS,
    Point,
    fractions_of,
    image_counts,
    point,
    require_fractions,
    split_to_choose,
)
from dgaug.studies.selection import Selection, require_judge, selected
from dgaug.studies.shared_tasks import TIMES, Task, work_through
from dgaug.studies.study import HEADLINE, STUDY, Row, Study, generated_per_step, record_study
from dgaug.studies.train_reid import model_settings
from dgaug.studies.worth import SMALLEST_REPEATS
from dgaug.surroundings import as_found
from dgaug.synthesis.job import synthesize
from dgaug.training.batches import LabelledImages
from dgaug.training.reid_loop import train_reid_network
from dgaug.training.sampling import Share, require_identities
from dgaug.training.train import teacher_job, train

PRESET = "study"
"""The settings of the embedded data."""
STRUCTURES = 32
"""Generated images of each appearance, unless `pairs` says otherwise."""
READY = "generator.json"
"""There when generator and store of a point are; what they are."""
MAP = HEADLINE["mAP (sum, valid queries)"]
_log = logging.getLogger("dgaug")


@as_found
@on_device
def study(
    data: str | Path | None = None,
    config: str | Path | None = None,
    *,
    fractions: str | Sequence[float] = FRACTIONS,
    axis: str = "images",
    arms: str | Sequence[str] | None = None,
    model: str = "bot",
    repeats: int = 5,
    seed: int | None = None,
    steps: str | Sequence[int] | None = None,
    rates: str | Sequence[float] | None = None,
    pairs: str | None = None,
    generator: str | Path | None = None,
    also: str | Path | None = None,
    set: str | Iterable[str] = (),
    overrides: str | Iterable[str] = (),
    out: str | Path = "study",
    dry_run: bool = False,
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Train every arm at every point of a learning curve; returns what `results.json` holds.

    At each fraction of the real training images, and for each repeat, a generator is trained on these images alone and
    every arm once, all for the same number of optimiser steps with as many images in a step. Resumes where an earlier
    call stopped; the same call in several processes or machines on the same `out` shares the models among them.

    Args:
        data: a data set with query and gallery; None: the embedded one.
        config: preset or file for the settings; None: the preset `study` without data, else the defaults.
        fractions: shares of the real training images (above 0, up to 1), as numbers or `0.1,0.5,1`.
        axis: `images` (at least one of each identity), `identities`, or `per-identity` (of the images of each).
        arms: names of `dgaug.studies.arms.ARMS`; None: the usual ones.
        model: `dgnet`, `baseline`, `pcb` or `bot`; it brings its own recipe.
        repeats: seeds of subset, generator and model together; at least 3.
        seed: the first one; None: the settings'.
        steps: numbers of optimiser steps to choose from, once per fraction; None: half, once and twice
            `reid.iterations`. One number, with one rate: nothing is chosen.
        rates: learning rates to choose from, as multiples of `reid.learning_rate`; None: 0.3 and 1.
        pairs: what a generator makes, see `synthesize`; None: 32 structures for each appearance.
        generator: a run whose generator makes the images of every point, although it saw other images than those of
            the point; None: one is trained for each.
        also: another data set with query and gallery, on which every model is evaluated too.
        set: `section.name=value` texts, as of `--set`.
        overrides: the same.
        out: folder of generators, models and results.
        dry_run: count models and estimate seconds; nothing is trained.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        force: start over.

    Returns:
        `protocol`; `points`, by fraction and arm: `images` (real training images), `metrics` (0..1: mean, standard
        deviation), `by_repeat`, `minus` (paired differences with 95 % intervals), `worth` (in real images); after a dry
        run the numbers of an `Estimate`.

    Raises:
        DgaugError: wrong use or bad input, before anything is trained. Interrupted: a signal arrived; everything was
            saved.
    """
    chosen = setting_texts(overrides, set)
    preset = config or (None if data else PRESET)
    base = load_settings(preset, overrides=chosen, flags={"seed": seed})
    if model not in ARCHITECTURES:
        raise DgaugError(f"unknown model {model!r}; known are {', '.join(ARCHITECTURES)}")
    settings = model_settings(base, model, chosen, {"seed": seed})
    if repeats < SMALLEST_REPEATS:
        raise DgaugError(
            f"--repeats {repeats}: an interval needs at least {SMALLEST_REPEATS} repeats; 5 are the default"
        )
    if settings.teacher.checkpoints:
        raise DgaugError("teacher.checkpoints: the teachers of a study see its fractions alone; remove the setting")
    if settings.reid.identity_mixup:
        raise DgaugError("reid.identity_mixup mixes codes, the stores of a study hold images; remove the setting")
    require_policy(settings.reid.labels)
    if settings.reid.labels == TRUST:
        raise DgaugError(f"reid.labels={TRUST} needs a judge, which the arm 'trusted' has; add it to --arms instead")
    require_identities(settings.reid, "reid", Share(turns=settings.reid.accumulation))
    asked = _Asked(
        fractions=fractions_of(fractions),
        axis=axis,
        arms=_arms(arms, embedded=data is None or is_toy(Path(data))),
        model=model,
        repeats=repeats,
        lengths=lengths_of(steps, rates, settings.reid.iterations),
        pairs=pairs,
        preset=preset,
        overrides=chosen,
    )
    outside = None if generator is None else _outside(find_run(str(generator)), settings)
    if data is None:
        require_cameras(settings)
        counts = [settings.toy.images_per_identity] * settings.toy.identities
        require_fractions(asked.fractions, axis, settings, counts)
    folder = Path(out)
    with alone() as local_rank, ExitStack() as stack:
        if local_rank is not None and device == AUTO and usable_cuda():
            stack.enter_context(use_device(f"cuda:{local_rank}"))
        if data is not None:
            root = Path(data)
        else:
            parent = Path(stack.enter_context(tempfile.TemporaryDirectory())) if dry_run else folder
            root = _embedded(parent, settings)
        whole = settings.data.model_copy(update=dict.fromkeys(SEEDED_LIMITS))
        content = read_data(root, whole, splits=(TRAIN, QUERY, GALLERY), progress=progress)
        require_evaluation(content)
        warn_of_leaks(held_out(content, class_names(content.splits[TRAIN])))
        require_fractions(asked.fractions, axis, settings, image_counts(limited(content, settings.data)))
        elsewhere = None if also is None else _elsewhere(Path(also), settings, progress)
        curve = _Curve(asked, settings, content, elsewhere, outside, folder, progress)
        curve.require_points()
        if dry_run:
            return curve.estimated().described()
        _begin(curve, force=force)
        work_through(curve.tasks(), folder)
        with lock(folder / "results", wait=True):
            return write_results(folder, curve.trained(), curve.protocol(), outside=outside is not None)


@dataclass(frozen=True)
class _Asked:
    """What the caller asks for, checked."""

    fractions: list[float]
    axis: str
    arms: list[str]
    model: str
    repeats: int
    lengths: list[Length]
    pairs: str | None
    preset: str | Path | None
    overrides: list[str]


def _arms(given: str | Sequence[str] | None, *, embedded: bool) -> list[str]:
    if given is None:
        return [name for name in USUAL if embedded or name != TRUE]
    names = given.split(",") if isinstance(given, str) else given
    arms = list(dict.fromkeys(name.strip() for name in names))
    require_arms(arms, embedded=embedded)
    return [name for name in ARMS if name in arms]


def _outside(run: Run, settings: Settings) -> Run:
    if not run.checkpoint.is_file():
        raise DgaugError(f"--generator {run.folder} has no checkpoint; train it first, or give another run")
    theirs, ours = run.settings().data.image_size, settings.data.image_size
    if theirs != ours:
        texts = ["x".join(map(str, size)) for size in (theirs, ours)]
        raise DgaugError(
            f"--generator {run.folder} makes images of {texts[0]}, the settings say {texts[1]}; take --set "
            f"data.height={theirs[0]} --set data.width={theirs[1]}, or another run"
        )
    return run


def _embedded(folder: Path, settings: Settings) -> Path:
    with lock(folder / "embedded", wait=True):
        write_embedded_data(folder / "embedded" / "data", settings)
    return folder / "embedded" / "data"


def _elsewhere(root: Path, settings: Settings, progress: Progress) -> IdentityData:
    reading = settings.data.model_copy(update={"layout": "auto", "pattern": None})
    content = read_data(root, reading, splits=(QUERY, GALLERY), progress=progress)
    require_evaluation(content)
    return content


def _begin(curve: _Curve, *, force: bool) -> None:
    """Record what the folder is for; refuse one of another study."""
    with lock(curve.folder, wait=True):
        if force and (curve.folder / STUDY).is_file():
            for item in curve.folder.iterdir():
                if item.is_dir() and item.name not in ("embedded", "results"):
                    shutil.rmtree(item)
            for name in (TIMES, *FILES):
                (curve.folder / name).unlink(missing_ok=True)
        begun = any(curve.folder.glob("*/*/*/ranking.json")) or any(curve.folder.glob(f"*/*/{READY}"))
        record_study(curve.folder, curve.described(), begun=begun)
        curve.require_labels()


@dataclass
class _Curve:
    """All points of a study, and what is trained at each."""

    asked: _Asked
    settings: Settings
    data: IdentityData
    elsewhere: IdentityData | None
    outside: Run | None
    folder: Path
    progress: Progress
    _images: dict[tuple[Path, int], LabelledImages] = field(default_factory=dict)

    @property
    def points(self) -> list[Point]:
        """All of them, repeat by repeat, so that what is done is a study of fewer repeats."""
        return [
            self._point(fraction, repeat) for repeat in range(self.asked.repeats) for fraction in self.asked.fractions
        ]

    @property
    def tried_arms(self) -> list[str]:
        """The arms whose lengths are tried: real, and for all that are fed the first that needs no judge."""
        if len(self.asked.lengths) == 1:
            return []
        fed = [name for name in self.asked.arms if ARMS[name].fed and ARMS[name].keep is None]
        return [REAL, *(fed or [GENERATED])[:1]] if self._is_fed else [REAL]

    def require_points(self) -> None:
        """Refuse a point on which no length can be chosen, before anything is trained."""
        for fraction in self.asked.fractions if self.tried_arms else ():
            split_to_choose(self._point(fraction, 0), self.data)

    def tasks(self) -> list[Task]:
        """Every generator, trial and model of the study, in the order in which they are worked on."""
        tasks = []
        for one in self.points:
            if self._is_fed:
                tasks.append(self._generator_task(one))
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
            "images_per_step": self._images_per_step(),
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
            models=[steps] * (len(self.points) * len(self.asked.arms)),
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

    def _images_per_step(self) -> dict[str, int]:
        reid = self.settings.reid
        return {"real": reid.batch_size, "generated or further real": generated_per_step(reid)}

    def _point(self, fraction: float, repeat: int) -> Point:
        return point(self.data, self.settings, self.asked.axis, fraction, repeat, self.folder)

    def _labelled(self, folder: Path, data: IdentityData) -> LabelledImages:
        """The training images of one place at a time, kept while its models are trained."""
        key = (folder, len(data.splits[TRAIN]))
        if key not in self._images:
            self._images.clear()
            self._images[key] = LabelledImages.of(data, self.settings.data.image_size)
        return self._images[key]

    def _generator_task(self, one: Point) -> Task:
        folder = one.folder / "generator"
        return Task(f"generator, {_named(one)}", folder, one.folder / READY, (), lambda: self._generate(one))

    def _generate(self, one: Point) -> None:
        """A generator trained on a point, or the outside one, and its store of the point's pairs."""
        progress = named(self.progress, _named(one))
        folder, store = one.folder / "generator", one.folder / "store"
        pairs = self.asked.pairs or f"per-appearance:{min(STRUCTURES, len(one.data.splits[TRAIN]) - 1)}"
        if self.outside is None:
            run = train(
                one.data.source,
                self.asked.preset,
                overrides=[*self.asked.overrides, *one.limits],
                seed=one.settings.seed,
                out=folder / "run",
                progress=progress,
            )
            checkpoint, teacher = run.checkpoint, run.teacher
        else:
            checkpoint, teacher = self.outside.checkpoint, folder / "teacher" / "last.pt"
            if self._needs_labels:
                job = teacher_job(one.settings, self._labelled(one.folder, one.data))
                every = self.settings.checkpoint.every
                here = Processes(default_device())
                train_reid_network(job, teacher, processes=here, save_every=every, progress=progress)
        labels = teacher if teacher.is_file() else "none"
        synthesize(
            checkpoint=checkpoint, data=one.data, teacher=labels, pairs=pairs, seed=one.settings.seed, out=store,
            progress=progress,
        )  # fmt: skip
        made = {"generator_sha256": file_sha256(checkpoint), "pairs": pairs, "labels": labels != "none"}
        write_figures(one.folder / READY, made)

    def _trial_task(self, one: Point, arm: str, length: Length) -> Task:
        folder = self._trial_folder(one, arm, length)
        needs = (one.folder / READY,) if ARMS[arm].fed else ()
        return Task(
            f"trial of {length}, {arm}, fraction {one.fraction:g}",
            folder,
            folder / "ranking.json",
            needs,
            lambda: self._try(one, arm, length),
        )

    def _trial_folder(self, one: Point, arm: str, length: Length) -> Path:
        return one.folder.with_name("chosen") / f"seed{one.settings.seed}-{arm}-{str(length).replace(' ', '-')}"

    def _try(self, one: Point, arm: str, length: Length) -> None:
        folder = self._trial_folder(one, arm, length)
        self._train(
            replace(one, data=split_to_choose(one, self.data), folder=folder.parent), one, arm, length, str(length)
        )
        (folder / "last.pt").unlink()

    def _model_task(self, one: Point, arm: str) -> Task:
        folder = one.folder / f"seed{one.settings.seed}-{arm}"
        first = self._point(one.fraction, 0)
        needs = [
            self._trial_folder(first, tried, length) / "ranking.json"
            for tried in self.tried_arms
            for length in self.asked.lengths
        ]
        if ARMS[arm].fed:
            needs.append(one.folder / READY)
        if ARMS[arm].keep is not None:
            needs.append(self._judge(one).with_name("ranking.json"))
        finished = folder / ("ranking.json" if self.elsewhere is None else ALSO)
        return Task(f"{arm}, {_named(one)}", folder, finished, tuple(needs), lambda: self._compare(one, arm))

    def _compare(self, one: Point, arm: str) -> None:
        self._train(one, one, arm, self._length(one.fraction, arm), "")
        if self.elsewhere is not None:
            folder = one.folder / f"seed{one.settings.seed}-{arm}"
            write_figures(
                folder / ALSO,
                evaluate_network(
                    load_reid(folder / "last.pt").network.to(default_device()),
                    self.elsewhere,
                    image_size=self.settings.data.image_size,
                    fine_weight=self.settings.reid.fine_at_test,
                    progress=self.progress,
                ),
            )

    def _train(self, place: Point, one: Point, arm: str, length: Length, title: str) -> Row:
        """Train and evaluate an arm on the data of `place`, fed from the store of `one`."""
        images = self._labelled(place.folder, place.data)
        reid = self.settings.reid
        reid = reid.model_copy(
            update={"iterations": length.steps, "learning_rate": reid.learning_rate * length.rate}, deep=True
        )
        named_progress = named(self.progress, _named(one))
        source, keep = None, ARMS[arm].keep
        if ARMS[arm].fed:
            source = open_source(one.folder / "store", images, ARMS[arm].labelling(reid))
            source = source_of(arm, source, images, place.data.root)
        if source is not None and keep is not None:
            selection = Selection(self._judge(one), keep)
            judge = require_judge(selection, [source], [])
            source, _ = selected(source, selection, judge, images, progress=named_progress)
        one_variant = variant(arm, self.asked.model, reid, source, title=f"{arm} {title}".strip())
        settings = one.settings.model_copy(update={"reid": reid})
        models = Study(settings, place.data, images, place.folder, default_device(), named_progress)
        return models.row(one_variant, one.settings.seed)

    def _judge(self, one: Point) -> Path:
        """The real-only model of a point: trained on the same images as the teacher, from another start."""
        return one.folder / f"seed{one.settings.seed}-{REAL}" / "last.pt"

    @property
    def _needs_labels(self) -> bool:
        arms = [ARMS[name] for name in self.asked.arms if ARMS[name].fed]
        return any(arm.labelling(self.settings.reid).needs_teacher for arm in arms)

    def require_labels(self) -> None:
        """Refuse arms that need the soft labels which the stores in the folder were made without."""
        made = [one.folder / READY for one in self.points if (one.folder / READY).is_file()]
        if self._needs_labels and not all(read_json(file).get("labels") for file in made):
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
                length: _metric(read_json(self._trial_folder(first, arm, length) / "ranking.json"))
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
        folder = one.folder / f"seed{one.settings.seed}-{arm}"
        also = None if self.elsewhere is None else read_json(folder / ALSO)
        row = Row(arm, one.settings.seed, read_json(folder / "ranking.json"))
        images = one.data.splits[TRAIN]
        return Trained(one.fraction, one.repeat, len(images), len(class_names(images)), row, also)


def _fingerprint_of_test(data: IdentityData) -> str:
    return fingerprint(replace(data, splits={TRAIN: [*data.splits[QUERY], *data.splits[GALLERY]]}))


def _named(one: Point) -> str:
    return f"fraction {one.fraction:g}, repeat {one.repeat}"


def _metric(ranking: Mapping[str, Any]) -> float:
    return float(Row("", 0, dict(ranking)).headline[MAP])
