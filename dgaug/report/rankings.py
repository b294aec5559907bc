"""Ranked lists in the report: some queries, from the worst ranked to the best, with what came first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dgaug.data.images import open_picture, to_pixels
from dgaug.data.records import IdentityData, Record
from dgaug.progress import Progress
from dgaug.report.images import picture_uri
from dgaug.report.state import Missing, dgaug_command
from dgaug.runs import Run
from dgaug.scores.retrieval.evaluate import evaluate_reid
from dgaug.scores.retrieval.held_out import require_evaluation
from dgaug.scores.retrieval.protocols import SINGLE_QUERY
from dgaug.scores.retrieval.ranked_lists import spread_of_queries
from dgaug.settings import DataSettings

CHEAP = 2_000
"""Queries and gallery pictures up to which the page ranks by itself."""
LENGTH = 10


@dataclass(frozen=True)
class RankedPicture:
    """A picture in a ranking."""

    name: str
    identity: str
    picture: str
    right: bool


@dataclass(frozen=True)
class RankedQuery:
    """A query, its average precision (mean of precisions) and the first pictures of its ranking."""

    name: str
    identity: str
    picture: str
    average_precision: float
    pictures: list[RankedPicture]


@dataclass(frozen=True)
class RankedLists:
    """What a model ranks; `model` is its file in the run."""

    model: str
    feature: str
    queries: list[RankedQuery]


def ranked_lists(run: Run, data: IdentityData, settings: DataSettings, progress: Progress) -> RankedLists | Missing:
    """The lists of the run's first re-id model, or else of its teacher; Missing where ranking takes long.

    Raises:
        DgaugError: no query or gallery, or a damaged model or picture.
    """
    require_evaluation(data)
    model = ranked_model(run)
    if not model.is_file():
        return Missing("There is no re-id model yet.", dgaug_command("train-reid", "--run", run.folder))
    count = len(data.splits["query"]) + len(data.splits["gallery"])
    if count > CHEAP:
        out = run.reid / "ranked-lists.png"
        return Missing(
            f"Ranking {count:,} pictures takes a while; its picture in reid/ is shown here once it is made.",
            dgaug_command("eval-reid", model, "--data", data.source, "--ranked-lists", out),
        )
    found = evaluate_reid(
        model,
        data.source,
        layout=settings.layout,
        pattern=settings.pattern,
        cameras=settings.cameras,
        depth=settings.depth if settings.depth != "auto" else "full",
        progress=progress,
    )
    precision = found.per_query[SINGLE_QUERY][found.feature].average_precision

    def embedded(record: Record) -> str:
        return picture_uri(to_pixels(open_picture(data.picture_path(record)), settings.image_size))

    queries = []
    for row in spread_of_queries(found):
        record = found.query.records[row]
        first = [
            RankedPicture(one.record.path, one.record.identity, embedded(one.record), one.right)
            for one in found.ranked(row, count=LENGTH)
        ]
        queries.append(RankedQuery(record.path, record.identity, embedded(record), float(precision[row]), first))
    return RankedLists(model.relative_to(run.folder).as_posix(), found.feature, queries)


def ranked_model(run: Run) -> Path:
    """The re-id model with generated pictures of the lowest seed, another one, or else the teacher."""
    models = sorted(run.reid.glob("seed*/last.pt"), key=lambda path: ("augmented" not in path.parent.name, path))
    return models[0] if models else run.teacher
