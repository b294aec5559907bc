"""Choosing generated images by a judge: a re-id model that had no part in making or labelling them.

A judge agrees with an image where its feature is nearer to the centre of the appearance donor's identity than to that
of any other identity. The score of every image is kept in a file beside the store, never in it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dgaug.data.normalisation import normalise
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.files import ZIP_ERRORS, file_sha256, whole
from dgaug.models.checkpoints import ReidModel, load_reid
from dgaug.progress import Progress
from dgaug.scores.retrieval.features import features_of
from dgaug.store.read import StoreDataset
from dgaug.studies.feeds import Source
from dgaug.training.batches import LabelledImages

BATCH = 64
KEEP = 0.5
"""Of the images of each appearance identity, unless another share is asked for."""
_FORM = re.compile(r"judge:(?P<file>.+?)(,keep=(?P<keep>[^,=]*))?")
_log = logging.getLogger("dgaug")


@dataclass(frozen=True)
class Selection:
    """Which judge, and the share of each appearance identity's images that is kept (above 0, up to 1)."""

    judge: Path
    keep: float = KEEP


@dataclass(frozen=True)
class Selected:
    """What a selection left, for the protocol of a result."""

    judge_sha256: str
    keep: float
    kept: int
    left_out: int
    judge_agrees: float
    judge_agrees_with_kept: float

    def described(self) -> dict[str, object]:
        """As a dictionary."""
        return asdict(self)

    def sentence(self) -> str:
        """For people."""
        return (
            f"selected by the judge: {self.kept:,} images kept, {self.left_out:,} left out; it agrees with "
            f"{100 * self.judge_agrees:.0f} % of all and {100 * self.judge_agrees_with_kept:.0f} % of the kept"
        )


def parse_selection(text: str) -> Selection:
    """A selection from `judge:FILE` or `judge:FILE,keep=0.5`; DgaugError for another form."""
    match = _FORM.fullmatch(text)
    try:
        keep = float(match["keep"] or KEEP) if match else 0.0
    except ValueError:
        keep = 0.0
    if match is None or not 0 < keep <= 1:
        raise DgaugError(f"--select {text}: expected judge:FILE,keep=0.5 with a share above 0 and up to 1")
    return Selection(Path(match["file"]), keep)


def require_judge(selection: Selection, sources: Sequence[Source], teachers: Sequence[Path]) -> ReidModel:
    """The judge, independent of what made and labelled the images of some stores.

    Raises:
        DgaugError: it is the teacher or the generator's encoder, or sees images of another size.
    """
    judge = load_reid(selection.judge)
    remedy = "train a judge with dgaug train-reid --feed none --model baseline"
    if judge.sha256 in {file_sha256(path) for path in teachers if path.is_file()}:
        raise DgaugError(f"--select judge:{selection.judge} is the teacher that labels the images; {remedy}")
    for source in sources:
        spec = source.store.spec
        made_with = {"teacher": spec.teacher_sha256, "generator": spec.generator_sha256}
        for part, sha256 in made_with.items():
            if judge.sha256 == sha256:
                raise DgaugError(f"--select judge:{selection.judge} is the {part} of {source.store.path}; {remedy}")
        if judge.image_size != spec.image_size:
            theirs, ours = ("x".join(map(str, size)) for size in (judge.image_size, spec.image_size))
            raise DgaugError(
                f"--select judge:{selection.judge} sees images of {theirs}, {source.store.path} holds {ours}; {remedy}"
            )
    return judge


def selected(
    source: Source, selection: Selection, judge: ReidModel, images: LabelledImages, *, progress: Progress
) -> tuple[Source, Selected]:
    """A store without the images that the judge likes least, the same share of each appearance identity."""
    rows = source.fitting.rows
    rows = np.arange(len(source.store)) if rows is None else rows
    score = _scores(source.store, judge, images, progress)
    identity = source.store.sources.identity[source.store.pairs()[rows, 0]]
    kept = np.sort(np.concatenate([_best(rows[identity == one], score, selection.keep) for one in np.unique(identity)]))
    agrees = score > 0
    made = Selected(
        judge.sha256,
        selection.keep,
        len(kept),
        len(rows) - len(kept),
        float(agrees[rows].mean()),
        float(agrees[kept].mean()),
    )
    return replace(source, fitting=replace(source.fitting, rows=kept), trusted=agrees), made


def _best(rows: NDArray[np.int64], score: NDArray[np.float32], keep: float) -> NDArray[np.int64]:
    """The rows with the highest scores, at least one; of equal ones the first."""
    order = np.argsort(-score[rows], kind="stable")
    return rows[order[: max(1, round(keep * len(rows)))]]


def score_file(store: StoreDataset, judge: ReidModel) -> Path:
    """Where a judge's scores of a store lie: beside its folder."""
    return store.path.with_name(f"{store.path.name}.judged-{judge.sha256[:12]}.npz")


def _scores(store: StoreDataset, judge: ReidModel, images: LabelledImages, progress: Progress) -> NDArray[np.float32]:
    """Score of every image of a store [M]: above 0 where the judge agrees; made once for the same real images."""
    path = score_file(store, judge)
    origin = np.array([file_sha256(store.path / "dataset.h5"), judge.sha256, *images.names])
    try:
        with np.load(path, allow_pickle=False) as content:
            if np.array_equal(content["origin"], origin) and content["score"].shape == (len(store),):
                return np.asarray(content["score"], np.float32)
    except ZIP_ERRORS:
        pass  # not there, or damaged: it is made again
    score = _judged(store, judge, images, progress)
    try:
        with whole(path) as aside, aside.open("wb") as stream:
            np.savez(stream, origin=origin, score=score)
    except OSError as error:
        _log.warning("the judge's scores are not kept for the next time: %s", error)
    return score


@torch.no_grad()
def _judged(store: StoreDataset, judge: ReidModel, images: LabelledImages, progress: Progress) -> NDArray[np.float32]:
    device = default_device()
    network = judge.network.to(device).eval()
    real = features_of(network, images.paths, judge.image_size, title="the judge's features", progress=progress)
    centres = torch.stack([real[images.labels == label].mean(dim=0) for label in range(len(images.class_names))])
    centres = torch.nn.functional.normalize(centres, dim=1).to(device)
    column = {name: place for place, name in enumerate(images.class_names)}
    # -1: an identity that is not trained on, whose images no feed shows.
    of_class = torch.tensor([column.get(name, -1) for name in store.sources.class_name])
    intended = of_class[torch.from_numpy(store.sources.identity[store.pairs()[:, 0]].astype(np.int64))]
    result = []
    for start in range(0, len(store), BATCH):
        rows = range(start, min(start + BATCH, len(store)))
        features = torch.nn.functional.normalize(
            network.features(normalise(store.batch(rows).pixels.to(device))), dim=1
        )
        similarity = (features @ centres.T).cpu()
        mine = intended[rows.start : rows.stop].clamp(min=0)[:, None]
        own = similarity.gather(1, mine)[:, 0]
        result.append(own - similarity.scatter(1, mine, -torch.inf).amax(dim=1))
        progress("judging generated images", rows.stop, len(store))
    return torch.cat(result).numpy().astype(np.float32)
