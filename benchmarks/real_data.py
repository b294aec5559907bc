"""Real images, from a data set to re-id with and without generated ones: one table that grows part by part.

    python benchmarks/real_data.py ../Market-1501 --weights tf_efficientnet_lite0.safetensors
    python benchmarks/real_data.py ../Market-1501 --weights FILE --identities 100 --name market-100
    python benchmarks/real_data.py ../Market-1501 --weights FILE --config market1501 --pairs per-appearance:10

Trains teacher and generator, ranks the teacher, makes a store, scores it, and trains re-id models: fed with the store
by the published losses, fed with appearance labels alone, and both real-only twins. Every part resumes where it was
stopped, and `results/real-NAME.md` and `.json` are written anew after each, so that a run that was cut off still tells.
Neither images nor weights are written beside them; the grid to look at stays in `--work`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import progress_shown
from machine import machine

import dgaug
from dgaug.data.prepare import read_data
from dgaug.data.records import class_names
from dgaug.device import default_device
from dgaug.errors import Interrupted
from dgaug.files import read_json, write_json
from dgaug.memory import keep_freed_memory
from dgaug.progress import Progress
from dgaug.runs import Run
from dgaug.settings import Settings, load_settings
from dgaug.studies.study import over_seeds, paired_difference

RESULTS = Path(__file__).parent / "results"
RECIPES = {
    "fed, published losses": ("reid.labels=soft", "reid.fine=0.2"),
    "fed, appearance labels, no fine": ("reid.labels=appearance", "reid.fine=0"),
}
"""How the generated images are learned from; the twins are trained beside the first."""
FIGURES = {
    "rank-1": "sum_valid_queries/R1",
    "mAP (sum, valid queries)": "sum_valid_queries/mAP",
    "mAP (trapezoid, all queries)": "trapezoid_all_queries/mAP",
    "mINP": "sum_valid_queries/mINP",
}
SCORES = ("identity_rank1_appearance", "identity_rank1_structure", "identity_rank1_real", "teacher_is_appearance")


@dataclass(frozen=True)
class Work:
    """What the parts have in common.

    Attributes:
        run: teacher, generator and store.
        data: the data set.
        record: what was found so far, written after every part.
        progress: is told how far each part is.
    """

    run: Run
    data: Path
    record: dict[str, Any]
    file: Path
    progress: Progress

    def part(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        """Do a part that is not done, and write down what it found and how long it took in all."""
        if name in self.record["found"]:
            return
        began, seconds = time.monotonic(), self.record["seconds"]
        try:
            self.record["found"][name] = work()
        finally:
            seconds[name] = seconds.get(name, 0.0) + time.monotonic() - began
            write_json(self.file.with_suffix(".json"), self.record)
            self.file.with_suffix(".md").write_text(page(self.record), encoding="utf-8")


def ranked(work: Work, checkpoint: Path) -> dict[str, Any]:
    """The figures of a checkpoint on the full protocol, by feature."""
    result = dgaug.evaluate_reid(checkpoint, work.data, progress=work.progress)
    return {feature: headline(ranking) for feature, ranking in result.ranking["single-query"].items()}


def headline(ranking: Mapping[str, Any]) -> dict[str, float]:
    """The figures of the table."""
    return {name: float(ranking[key]) for name, key in FIGURES.items()}


def scored(work: Work, encoder: str | None) -> dict[str, Any]:
    """The Fréchet distance with its floor, and whom an ImageNet model sees in the images."""
    scores = dgaug.score_fid(run=work.run.folder, encoder=encoder, judge=encoder, progress=work.progress)["scores"]
    return {name: value for name, value in scores.items() if name in SCORES or name.startswith("frechet_")}


def trained(work: Work, recipe: str, *, seeds: int, twin: bool) -> dict[str, Any]:
    """Models fed by a recipe, with their twins beside the first recipe; figures of each seed by model."""
    out = work.run.folder / f"reid-{list(RECIPES).index(recipe)}"
    results = dgaug.train_reid(
        work.run.folder, overrides=RECIPES[recipe], seeds=seeds, twin=twin, out=out, progress=work.progress
    )
    models: dict[str, list[dict[str, float]]] = {}
    for row in results["runs"]:
        name = recipe if row["variant"] == "augmented" else row["variant"]
        models.setdefault(name, []).append(headline(row["ranking"]["both"]))
    return models


def page(record: Mapping[str, Any]) -> str:
    """All that was found so far, as Markdown."""
    result, seconds = record["found"], record["seconds"]
    about = ", ".join(f"{name} {value}" for name, value in record["settings"].items())
    lines = [
        f"# {record['name']}: real images, with and without generated ones",
        "",
        f"{record['machine']}. {about}.",
        "",
    ]
    lines += ["| part | minutes |", "|---|---:|"]
    lines += [f"| {name} | {value / 60:.1f}{'' if name in result else ' so far'} |" for name, value in seconds.items()]
    if "scores" in result:
        lines += ["", "| score of the store | |", "|---|---:|"]
        lines += [f"| `{name}` | {value:.4g} |" for name, value in result["scores"].items() if isinstance(value, float)]
    models = {name: rows for part in RECIPES for name, rows in result.get(part, {}).items()}
    lines += ["", *_ranking_table(result.get("teacher"), models)]
    return "\n".join([*lines, ""])


def _ranking_table(teacher: Mapping[str, Any] | None, models: Mapping[str, list[dict[str, float]]]) -> list[str]:
    lines = [
        f"| model | seeds | {' | '.join(FIGURES)} | mAP (sum) minus real only |",
        "|---" * (len(FIGURES) + 3) + "|",
    ]
    if teacher:
        lines.append(f"| teacher | 1 | {' | '.join(f'{100 * value:.1f}' for value in teacher['prim'].values())} | |")
    twins = models.get("real only", [])
    key = "mAP (sum, valid queries)"
    for name, rows in models.items():
        cells = []
        for figure in FIGURES:
            mean = over_seeds([row[figure] for row in rows])
            cells.append(f"{100 * mean['mean']:.1f}" + (f" ± {100 * mean['spread']:.1f}" if mean["spread"] else ""))
        minus = ""
        if name in RECIPES and len(twins) == len(rows):
            result = paired_difference([row[key] for row in rows], [row[key] for row in twins])
            minus = f"{100 * result['mean']:+.1f}"
            if result["low"] is not None and result["high"] is not None:
                minus += f" [{100 * result['low']:+.1f}, {100 * result['high']:+.1f}]"
        lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} | {minus} |")
    return lines


def stated_settings(settings: Settings, preset: str, data: Path, identities: int | None) -> dict[str, object]:
    """What the table says about the run."""
    people = len(class_names(read_data(data, settings.data, splits=("train",)).splits["train"]))
    teacher, schedule, reid = settings.teacher, settings.schedule, settings.reid
    return {
        "preset": preset,
        "identities": min(identities or people, people),
        "picture": f"{settings.data.height} x {settings.data.width}",
        "teacher": f"{teacher.iterations:,} iterations of {teacher.batch_size}",
        "DG-Net": f"{schedule.iterations:,} iterations of {2 * schedule.batch_size}",
        "re-id": f"{reid.iterations:,} steps, {reid.batch_size} real images in each",
    }


def kept(before: Mapping[str, Any], stated: Mapping[str, object]) -> dict[str, Any]:
    """What an earlier start found, where its settings were these; with other seeds, all but the re-id models."""
    if before["settings"] | {"seeds": stated["seeds"]} != stated:
        return {}
    models = () if before["settings"] == stated else RECIPES
    result = {part: value for part, value in before["found"].items() if part not in models}
    return {"found": result, "seconds": before["seconds"]}


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True))
@click.option("--weights", required=True, help="Of the backbone: a file, imagenet (the cache) or none.")
@click.option("--config", default="market1501-cpu", show_default=True, help="Preset.")
@click.option("--teacher", type=click.Path(path_type=Path), help="One that is there; default: trained first.")
@click.option("--identities", type=int, help="Only so many training identities.")
@click.option("--set", "overrides", multiple=True, metavar="section.name=value", help="Change one setting; repeat.")
@click.option("--pairs", default="per-appearance:2", show_default=True, help="What the store holds.")
@click.option("--encoder", metavar="NAME=FILE", help="For Fréchet distance and judge; default: backbone and weights.")
@click.option("--seeds", default=1, show_default=True, help="Re-id models of each kind.")
@click.option("--name", default="market", show_default=True, help="Of the results.")
@click.option("--out", default=RESULTS, type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--work", "folder", type=click.Path(path_type=Path), help="The run folder; default: build/real/NAME.")
def main(
    data: Path,
    weights: str,
    config: str,
    teacher: Path | None,
    identities: int | None,
    overrides: tuple[str, ...],
    pairs: str,
    encoder: str | None,
    seeds: int,
    name: str,
    out: Path,
    folder: Path | None,
) -> None:
    """Do all parts and write the table."""
    keep_freed_memory()
    run = Run(folder or Path("build/real") / name)
    chosen = [f"model.weights={weights}", *overrides]
    settings = load_settings(config, overrides=chosen)
    if encoder is None and Path(weights).is_file() and settings.model.backbone not in ("small", "resnet50"):
        encoder = f"{settings.model.backbone}={weights}"
    stated = stated_settings(settings, config, data, identities) | {"store": pairs, "seeds": seeds}
    file = out / f"real-{name}"
    out.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "name": name,
        "machine": machine(device=default_device()),
        "settings": stated,
        "found": {},
        "seconds": {},
    }
    if file.with_suffix(".json").is_file() and run.config.is_file():
        record |= kept(read_json(file.with_suffix(".json")), stated)
    with progress_shown() as progress:
        work = Work(run, data, record, file, progress)

        def train() -> dict[str, Any]:
            dgaug.train(
                data,
                config,
                overrides=chosen,
                teacher=teacher,
                limit_identities=identities,
                out=run.folder,
                progress=progress,
            )
            dgaug.draw_grid(run.folder)
            return {"iterations": settings.schedule.iterations}

        work.part("generator" if teacher else "teacher and generator", train)
        work.part("teacher", lambda: ranked(work, run.teacher))
        work.part("store", lambda: {"pictures": dgaug.synthesize(run.folder, pairs=pairs, progress=progress).count})
        work.part("scores", lambda: scored(work, encoder))
        for number, recipe in enumerate(RECIPES):
            work.part(recipe, lambda recipe=recipe, number=number: trained(work, recipe, seeds=seeds, twin=not number))
    click.echo(page(record))
    click.echo(f"grid: {run.samples}")


if __name__ == "__main__":
    try:
        main()
    except Interrupted as stopped:
        sys.exit(128 + stopped.signal_number)
