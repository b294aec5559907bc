"""Ranked lists in the report: some queries, from the worst ranked to the best, with what came first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dgaug.data.images import open_image, to_pixels
from dgaug.data.records import IdentityData, Record
from dgaug.progress import Progress
from dgaug.report.images import image_uri
from dgaug.report.state import Missing, dgaug_command
from dgaug.runs import Run
from dgaug.scores.retrieval.evaluate import evaluate_reid
from dgaug.scores.retrieval.held_out import require_evaluation
from dgaug.scores.retrieval.protocols import SINGLE_QUERY
from dgaug.scores.retrieval.ranked_lists import spread_of_queries
from dgaug.settings import DataSettings

CHEAP = 2_000
"""Queries and gallery images up to which the page ranks by itself."""
LENGTH = 10


@dataclass(frozen=True)
class RankedImage:
    """An image in a ranking."""

    name: str
    identity: str
    image: str
    right: bool


@dataclass(frozen=True)
class RankedQuery:
    """A query, its average precision (mean of precisions) and the first images of its ranking."""

    name: str
    identity: str
    image: str
    average_precision: float
    images: list[RankedImage]


@dataclass(frozen=True)
class RankedLists:
    """What a model ranks; `model` is its file in the run."""

    model: str
    feature: str
    queries: list[RankedQuery]


def ranked_lists(run: Run, data: IdentityData, settings: DataSettings, progress: Progress) -> RankedLists | Missing:
    """The lists of the run's first re-id model, or else of its teacher; Missing where ranking takes long.

    Raises:
        DgaugError: no query or gallery, or a damaged model or image.
    """
    require_evaluation(data)
    model = ranked_model(run)
    if not model.is_file():
        return Missing("There is no re-id model yet.", dgaug_command("train-reid", "--run", run.folder))
    count = len(data.splits["query"]) + len(data.splits["gallery"])
    if count > CHEAP:
        out = run.reid / "ranked-lists.png"
        return Missing(
            f"Ranking {count:,} images takes a while; its image in reid/ is shown here once it is made.",
            dgaug_command("eval-reid", model, "--data", data.source, "--ranked-lists", out),
        )
    evaluation = evaluate_reid(
        model,
        data.source,
        layout=settings.layout,
        pattern=settings.pattern,
        cameras=settings.cameras,
        depth=settings.depth if settings.depth != "auto" else "full",
        progress=progress,
    )
    precision = evaluation.per_query[SINGLE_QUERY][evaluation.feature].average_precision

    def embedded(record: Record) -> str:
        return image_uri(to_pixels(open_image(data.image_path(record)), settings.image_size))

    queries = []
    for row in spread_of_queries(evaluation):
        record = evaluation.query.records[row]
        first = [
            RankedImage(one.record.path, one.record.identity, embedded(one.record), one.right)
            for one in evaluation.ranked(row, count=LENGTH)
        ]
        queries.append(RankedQuery(record.path, record.identity, embedded(record), float(precision[row]), first))
    return RankedLists(model.relative_to(run.folder).as_posix(), evaluation.feature, queries)


def ranked_model(run: Run) -> Path:
    """The re-id model with generated images of the lowest seed, another one, or else the teacher."""
    models = sorted(run.reid.glob("seed*/last.pt"), key=lambda path: ("augmented" not in path.parent.name, path))
    return models[0] if models else run.teacher
