"""`dgaug report`: one HTML file that shows a run in whatever state it is."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from dgaug.data.prepare import read_data
from dgaug.data.recorded import read_run_data
from dgaug.data.records import IdentityData
from dgaug.device import AUTO, on_device
from dgaug.errors import DgaugError
from dgaug.files import read_json, write_text
from dgaug.models.checkpoints import TrainedGenerator, load_generator
from dgaug.outputs import require_free
from dgaug.progress import Progress, silent
from dgaug.report.curves import HEIGHT, WIDTH, read_curves
from dgaug.report.grid import LARGEST, Grid, Slider, described_grid, generate_grid_images, sliders
from dgaug.report.images import charts, image_uri, previews
from dgaug.report.state import Missing, dgaug_command, made_or_missing, read_config, steps_of
from dgaug.report.tables import formatted, read_reid, read_scores
from dgaug.runs import Run, find_run, newest_run
from dgaug.scores.retrieval.evaluate import evaluate_reid
from dgaug.scores.retrieval.held_out import require_evaluation
from dgaug.scores.retrieval.ranked_lists import RankedList, lists_to_show
from dgaug.settings import DataSettings
from dgaug.surroundings import as_found
from dgaug.synthesis.draw import grid_records
from dgaug.visible import visible

COUNT = 8
CHEAP = 2_000
"""Queries and gallery images up to which the page ranks by itself."""


@as_found
@on_device
def report_run(
    run: str | Path = "latest",
    *,
    data: str | Path | None = None,
    count: int = COUNT,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = AUTO,
    force: bool = False,
    progress: Progress = silent,
) -> Path:
    """Write the page of a run, trained or not, scored or not; returns its path.

    What the run does not have yet is named with the command that makes it; what cannot be read, with the reason.

    Args:
        run: a run's folder or number; `latest`: the latest one with a checkpoint, or else the latest.
        data: the data set of donors and ranked lists; None: the run's.
        count: identities of the grid, at most `LARGEST`; fewer where the data have fewer.
        seed: which identities and images.
        device: `auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        out: the HTML file; None: `report.html` of the run, which is replaced; a file named here only with `force`.

    Raises:
        DgaugError: no such run, a folder that is no run, a count out of range, or a file that is there.
    """
    if not 2 <= count <= LARGEST:
        raise DgaugError(f"expected a grid of 2 to {LARGEST} identities, found {count}")
    if out is not None:
        require_free(Path(out), force=force)
    existing = _found(run)
    text = _page(_parts(existing, data, count=count, seed=seed, progress=progress))
    path = Path(out) if out is not None else existing.folder / "report.html"
    write_text(path, text)
    return path


def _found(run: str | Path) -> Run:
    try:
        existing = find_run(str(run))
    except DgaugError:
        begun = newest_run() if run == "latest" else None
        if begun is None:
            raise
        existing = begun
    if not existing.config.is_file():
        raise DgaugError(f"{existing.folder} is not a run folder: it has no config.yaml")
    return existing


def _parts(run: Run, root: str | Path | None, *, count: int, seed: int, progress: Progress) -> dict[str, Any]:
    """What the template names."""
    training = dgaug_command("train", "--resume", "--out", run.folder)
    scoring, retraining = (dgaug_command(name, "--run", run.folder) for name in ("score-fid", "train-reid"))
    settings = made_or_missing(lambda: run.settings().data, command="")
    data = made_or_missing(lambda: _data(run, root, settings), command="")
    model = made_or_missing(lambda: _generator(run), command=training)
    curves = made_or_missing(lambda: read_curves(run.log), command=training)
    grid, between = _drawn(run, model, data, count=count, seed=seed)
    ranked: object = data
    if not isinstance(data, Missing) and not isinstance(settings, Missing):
        ranked = made_or_missing(lambda: _lists_of_run(run, data, settings, progress), command=retraining)
    iteration = None if isinstance(model, Missing) else model.iteration
    return {
        "title": run.folder.resolve().name,
        "folder": str(run.folder),
        "steps": steps_of(run, iteration=iteration, curves=curves),
        "grid": grid,
        "sliders": between,
        "curves": curves,
        "previews": made_or_missing(lambda: previews(run.samples), command=training),
        "scores": made_or_missing(lambda: read_scores(run.scores / "scores.json"), command=scoring),
        "score_charts": charts(run.scores),
        "reid": made_or_missing(lambda: read_reid(run.reid / "results.json"), command=retraining),
        "reid_charts": charts(run.reid),
        "ranked": ranked,
        "settings": read_config(run.config),
        "environment": made_or_missing(lambda: read_json(run.folder / "environment.json"), command=""),
    }


def _data(run: Run, root: str | Path | None, settings: DataSettings | Missing) -> IdentityData | Missing:
    if isinstance(settings, Missing):
        return settings
    # No split is decoded beforehand: the page opens a few of its images only.
    return read_run_data(run, settings, splits=()) if root is None else read_data(Path(root), settings, splits=())


def _generator(run: Run) -> TrainedGenerator:
    if not run.checkpoint.is_file():
        raise DgaugError("There is no generator yet.")
    return load_generator(run.checkpoint)


def _drawn(
    run: Run, model: TrainedGenerator | Missing, data: IdentityData | Missing, *, count: int, seed: int
) -> tuple[Grid | Missing, list[Slider] | Missing]:
    if isinstance(model, Missing):
        return model, model
    if isinstance(data, Missing):
        return data, data
    try:
        records = grid_records(data.splits["train"], count=count, seed=seed)
        images = generate_grid_images(model, data, records)
        grid = described_grid(images, data, teacher=run.teacher, iteration=model.iteration)
        return grid, sliders(model, records, images.donors)
    except DgaugError as error:
        missing = Missing(str(error), dgaug_command("data", "check", data.source))
        return missing, missing


@dataclass(frozen=True)
class RankedLists:
    """What a model ranks; `model` is its file in the run."""

    model: str
    feature: str
    queries: list[RankedList]


def _lists_of_run(run: Run, data: IdentityData, settings: DataSettings, progress: Progress) -> RankedLists | Missing:
    """The lists of the run's first re-id model, or else of its teacher; Missing where ranking takes long.

    Raises:
        DgaugError: no query or gallery, or a damaged model or image.
    """
    require_evaluation(data)
    # With generated images and of the lowest seed, or else another one.
    models = sorted(run.reid.glob("seed*/last.pt"), key=lambda path: ("augmented" not in path.parent.name, path))
    model = models[0] if models else run.teacher
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


def _page(parts: dict[str, Any]) -> str:
    home = resources.files("dgaug.report")
    template, style, script = (
        (home / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    )
    environment = Environment(
        autoescape=True, finalize=_visible, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["formatted"] = formatted
    environment.filters["uri"] = image_uri
    environment.tests["missing"] = lambda part: isinstance(part, Missing)
    environment.tests["mapping_of_values"] = lambda part: isinstance(part, dict) and bool(part)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(template).render(
        **parts,
        style=Markup(style),
        script=Markup(script),
        script_hash=digest,
        version=metadata.version("dgaug"),
        chart_width=WIDTH,
        chart_height=HEIGHT,
    )


def _visible(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
