"""Ranked lists in the report: some queries, from the worst ranked to the best, with what came first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dgaug.data.records import IdentityData
from dgaug.progress import Progress
from dgaug.report.state import Missing, dgaug_command
from dgaug.runs import Run
from dgaug.scores.retrieval.evaluate import evaluate_reid
from dgaug.scores.retrieval.held_out import require_evaluation
from dgaug.scores.retrieval.ranked_lists import RankedList, lists_to_show
from dgaug.settings import DataSettings

CHEAP = 2_000
"""Queries and gallery images up to which the page ranks by itself."""


@dataclass(frozen=True)
class RankedLists:
    """What a model ranks; `model` is its file in the run."""

    model: str
    feature: str
    queries: list[RankedList]


def lists_of_run(run: Run, data: IdentityData, settings: DataSettings, progress: Progress) -> RankedLists | Missing:
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
    queries = lists_to_show(evaluation, data, settings.image_size)
    return RankedLists(model.relative_to(run.folder).as_posix(), evaluation.feature, queries)


def ranked_model(run: Run) -> Path:
    """The re-id model with generated images of the lowest seed, another one, or else the teacher."""
    models = sorted(run.reid.glob("seed*/last.pt"), key=lambda path: ("augmented" not in path.parent.name, path))
    return models[0] if models else run.teacher
