"""Choosing generated images by a judge: a re-id model that had no part in making or labelling them.

A judge agrees with an image where its feature is nearer to the centre of the appearance donor's identity than to that
of any other identity. Images are chosen by that, by how far their features are apart, or by both. Every image gets a
score, kept in a file beside the store, never in it, and of each appearance identity those with the highest are kept.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

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
JUDGE, DIVERSITY, BOTH = "judge", "diversity", "both"
FORM = "judge:FILE,keep=0.5 (or diversity:FILE, both:FILE)"
_FORM = re.compile(rf"(?P<by>{JUDGE}|{DIVERSITY}|{BOTH}):(?P<file>.+?)(,keep=(?P<keep>[^,=]*))?")
_log = logging.getLogger("dgaug")


@dataclass(frozen=True)
class Selection:
    """Which judge, the share of each appearance identity's images that is kept (above 0, up to 1), and by what.

    `by`: `judge` (those that it recognises best), `diversity` (those whose features are furthest apart) or `both` (of
    those that it agrees with, the furthest apart; where these are too few, then the best of the others).
    """

    judge: Path
    keep: float = KEEP
    by: str = JUDGE


@dataclass(frozen=True)
class Selected:
    """What a selection left, for the protocol of a result."""

    judge_sha256: str
    by: str
    keep: float
    kept: int
    left_out: int
    judge_agrees: float
    judge_agrees_with_kept: float

    def described(self) -> dict[str, object]:
        """As a dictionary; `by` only where it is not `judge`, as folders of earlier versions have it."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("by", JUDGE)}

    def sentence(self) -> str:
        """For people."""
        by = "the judge" if self.by == JUDGE else self.by
        return (
            f"selected by {by}: {self.kept:,} images kept, {self.left_out:,} left out; the judge agrees with "
            f"{100 * self.judge_agrees:.0f} % of all and {100 * self.judge_agrees_with_kept:.0f} % of the kept"
        )


def parse_selection(text: str, *, by: Sequence[str] = (JUDGE, DIVERSITY, BOTH)) -> Selection:
    """A selection from `judge:FILE` or `judge:FILE,keep=0.5`, or with another name of `Selection.by` in front.

    Raises:
        DgaugError: another form, or a way that is not in `by`.
    """
    match = _FORM.fullmatch(text)
    try:
        keep = float(match["keep"] or KEEP) if match else 0.0
    except ValueError:
        keep = 0.0
    if match is None or match["by"] not in by or not 0 < keep <= 1:
        form = FORM if len(by) > 1 else FORM.partition(" ")[0]
        raise DgaugError(f"--select {text}: expected {form} with a share above 0 and up to 1")
    return Selection(Path(match["file"]), keep, match["by"])


def require_judge(selection: Selection, sources: Sequence[Source], teachers: Sequence[Path]) -> ReidModel:
    """The judge, independent of what made and labelled the images of some stores.

    Raises:
        DgaugError: it is a teacher, one of several that are averaged, or the generator's encoder, or sees images of
            another size.
    """
    judge = load_reid(selection.judge)
    named = f"--select {selection.by}:{selection.judge}"
    remedy = "train a judge with dgaug train-reid --feed none --model baseline"
    if any(_is_part_of(judge, path) for path in teachers if path.is_file()):
        raise DgaugError(f"{named} is the teacher that labels the images, or one of several; {remedy}")
    for source in sources:
        spec = source.store.spec
        made_with = {"teacher": spec.teacher_sha256, "generator": spec.generator_sha256}
        for part, sha256 in made_with.items():
            if judge.sha256 == sha256:
                raise DgaugError(f"{named} is the {part} of {source.store.path}; {remedy}")
        if judge.image_size != spec.image_size:
            theirs, ours = ("x".join(map(str, size)) for size in (judge.image_size, spec.image_size))
            raise DgaugError(f"{named} sees images of {theirs}, {source.store.path} holds {ours}; {remedy}")
    return judge


def _is_part_of(judge: ReidModel, teacher: Path) -> bool:
    if judge.sha256 == file_sha256(teacher):
        return True
    try:
        return judge.has_network_of(load_reid(teacher))
    except DgaugError:  # a program that may not run here: no network of ours
        return False


def selected(
    source: Source, selection: Selection, judge: ReidModel, images: LabelledImages, *, progress: Progress
) -> tuple[Source, Selected]:
    """A store without the images of the lowest scores, the same share of each appearance identity."""
    rows = source.fitting.rows
    rows = np.arange(len(source.store)) if rows is None else rows
    agreement, score = _judged(source.store, rows, selection.by, judge, images, progress)
    identity = source.store.sources.identity[source.store.pairs()[rows, 0]]
    kept = np.sort(np.concatenate([_best(rows[identity == one], score, selection.keep) for one in np.unique(identity)]))
    agrees = agreement > 0
    made = Selected(
        judge.sha256,
        selection.by,
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


_Judged = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of every image of a store [M]: above 0 where the judge agrees, and the score that it is chosen by."""


def score_file(store: StoreDataset, judge: ReidModel, by: str = JUDGE) -> Path:
    """Where the scores of a store by a judge lie: beside its folder."""
    kind = "" if by == JUDGE else f"-{by}"
    return store.path.with_name(f"{store.path.name}.judged-{judge.sha256[:12]}{kind}.npz")


def _judged(
    store: StoreDataset,
    rows: NDArray[np.int64],
    by: str,
    judge: ReidModel,
    images: LabelledImages,
    progress: Progress,
) -> _Judged:
    """Scores of some rows of a store, 0 elsewhere; made once for the same real images, which decide the rows."""
    path = score_file(store, judge, by)
    origin = np.array([file_sha256(store.path / "dataset.h5"), judge.sha256, *images.names])
    try:
        with np.load(path, allow_pickle=False) as content:
            agreement = np.asarray(content["score"], np.float32)
            score = agreement if by == JUDGE else np.asarray(content[by], np.float32)
            if np.array_equal(content["origin"], origin) and agreement.shape == score.shape == (len(store),):
                return agreement, score
    except ZIP_ERRORS:
        pass  # not there, or damaged: it is made again
    agreement, score = _score(store, rows, by, judge, images, progress)
    columns: dict[str, Any] = {"origin": origin, "score": agreement}
    if by != JUDGE:
        columns[by] = score
    try:
        with whole(path) as aside, aside.open("wb") as stream:
            np.savez(stream, **columns)
    except OSError as error:
        _log.warning("the judge's scores are not kept for the next time: %s", error)
    return agreement, score


@torch.no_grad()
def _score(
    store: StoreDataset,
    rows: NDArray[np.int64],
    by: str,
    judge: ReidModel,
    images: LabelledImages,
    progress: Progress,
) -> _Judged:
    device = default_device()
    network = judge.network.to(device).eval()
    real = features_of(network, images.paths, judge.image_size, title="the judge's features", progress=progress)
    centres = torch.stack([real[images.labels == label].mean(dim=0) for label in range(len(images.class_names))])
    centres = normalize(centres, dim=1).to(device)
    of_class = {name: place for place, name in enumerate(images.class_names)}
    identity, done = store.sources.identity[store.pairs()[:, 0]], 0
    agreement, score = np.zeros((2, len(store)), np.float32)
    # One identity after the other: the features of all images at once may be too many for the memory.
    for one in np.unique(identity[rows]):
        mine, parts = rows[identity[rows] == one], []
        for start in range(0, len(mine), BATCH):
            pixels = store.batch(mine[start : start + BATCH]).pixels.to(device)
            parts.append(normalize(network.features(normalise(pixels)), dim=1))
            done += len(pixels)
            progress("judging generated images", done, len(rows))
        features = torch.cat(parts)
        similarity = features @ centres.T
        own = similarity[:, of_class[store.sources.class_name[one]]].clone()
        similarity[:, of_class[store.sources.class_name[one]]] = -torch.inf
        agreed = own - similarity.amax(dim=1)
        agreement[mine] = agreed.cpu().numpy()
        score[mine] = agreement[mine] if by == JUDGE else _diverse(features, agreed, by).cpu().numpy()
    return agreement, score


def _diverse(features: Tensor, agreed: Tensor, by: str) -> Tensor:
    """Score of images [n] with features of unit length [n, D]: how far each is from those with higher scores.

    For `both` the images that the judge agrees with come first, then the others by its agreement [n].
    """
    if by == DIVERSITY:
        return _distance_to_chosen(features)
    score, right = agreed.clamp(max=0), agreed > 0
    if right.any():
        # A tiny bit above 0, where the others end: of equal images one has the distance 0.
        score[right] = _distance_to_chosen(features[right]) + 1e-6
    return score


def _distance_to_chosen(features: Tensor) -> Tensor:
    """Each image's distance [n] to the nearest of those chosen before it (Gonzalez, 1985: farthest point first).

    The first is the one nearest to the mean; its distance is 2, the largest there is.
    """
    nearest = torch.full_like(features[:, 0], 2.0)
    result = torch.zeros_like(nearest)
    chosen = (features @ features.mean(dim=0)).argmax()
    for _ in range(len(features)):
        result[chosen] = nearest[chosen]
        nearest = torch.minimum(nearest, torch.linalg.vector_norm(features - features[chosen], dim=1))
        nearest[chosen] = -torch.inf
        chosen = nearest.argmax()
    return result
