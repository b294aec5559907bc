"""`dgaug score-fid`: how good generated pictures are, each figure with everything that moves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from dgaug.data.pixels import normalise
from dgaug.data.records import IdentityData
from dgaug.data.toy import is_toy
from dgaug.data.training import read_data
from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.files import whole, write_json
from dgaug.models.checkpoints import ReidModel, load_reid
from dgaug.pictures.sheet import contact_sheet, save_sheet
from dgaug.progress import Progress, silent
from dgaug.runs import Run, find_run
from dgaug.scores.consistency import diversity, donor_pictures, identity_consistency, self_reconstruction
from dgaug.scores.distances import Sampling, distances
from dgaug.scores.encoders import Encoder, fid_inception, timm_encoder
from dgaug.scores.generated import GeneratedPictures, Sample
from dgaug.scores.oracle import oracle_error, true_pictures
from dgaug.scores.weights import inception_cached
from dgaug.settings import DataSettings

METRICS = ("fid", "kid", "frechet", "kernel", "ssim", "diversity", "identity", "oracle")
OF_INCEPTION = ("fid", "kid")
OF_OTHER_ENCODER = ("frechet", "kernel")
OF_DONORS = ("ssim", "diversity", "identity", "oracle")
PROTOCOLS = ("clean", "published")
SAMPLE = 256
"""Pictures of a store that are looked at one by one (similarity, identity, oracle)."""
SHEET_ROWS = 12


@dataclass(frozen=True)
class _Subject:
    """What is scored, against what, and who judges."""

    generated: GeneratedPictures
    real: IdentityData
    donors: Path | None
    judge: ReidModel | None
    folder: Path | None


def score_fid(
    target: str | Path | None = None,
    *,
    run: str | Path = "latest",
    real: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    protocol: str = "clean",
    inception_weights: str | Path | None = None,
    encoder: str | None = None,
    teacher: str | Path | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score a store or a folder of pictures against the real training pictures; returns what `scores.json` holds.

    Args:
        target: a store or any folder of pictures; None: the run's store.
        run: the run that gives store, real pictures and judge; a store inside a run belongs to that run.
        real: a data set whose training pictures are the reference.
        metrics: some of `METRICS`; None: all that can be computed. `fid` and `kid` need the FID Inception weights;
            `frechet` and `kernel` use `encoder`, or the judge, and are named after it.
        protocol: `clean` (equal counts on both sides) or `published` (one picture per appearance donor against all
            training pictures).
        inception_weights: file of the FID Inception weights, if they are not in the cache.
        encoder: `NAME=FILE`, a timm model and its weights, for `frechet` and `kernel`.
        teacher: the judge: a re-id checkpoint; None: the run's teacher.
        seed: of every sample that is drawn.
        out: folder for `scores.json`, `scores.csv` and the sheet; None: `scores/` in the run.

    Raises:
        DgaugError: wrong use or bad input, or a metric asked for by name whose weights are missing.
    """
    if protocol not in PROTOCOLS:
        raise DgaugError(f"unknown protocol {protocol!r}; known are {', '.join(PROTOCOLS)}")
    unknown = [name for name in metrics or () if name not in METRICS]
    if unknown:
        raise DgaugError(f"unknown metric {unknown[0]!r}; known are {', '.join(METRICS)}")
    subject = _subject(target, run=run, real=real, teacher=teacher, out=out, progress=progress)
    sample = Sampling(protocol, seed, len(subject.generated), len(subject.real.splits["train"]))
    scores: dict[str, Any] = {}
    used: dict[str, dict[str, object]] = {}
    for distance in _encoders(subject, metrics, inception_weights, encoder):
        found = distances(subject.generated, subject.real, distance, sample, progress=progress)
        scores |= {name: value for name, value in found.items() if _wanted(metrics, name)}
        used[distance.name] = {"sha256": distance.sha256, "dimension": distance.dimension}
    for name, compute in _donor_scores(subject, seed).items():
        if isinstance(compute, str):
            if metrics is not None and name in metrics:
                raise DgaugError(f"--metrics {name}: {compute}")
        elif _wanted(metrics, name):
            scores |= compute()
    result = {"protocol": _described(subject, sample, used), "scores": scores}
    if subject.folder is not None:
        _write(subject, result, seed)
    return result


def _wanted(metrics: Sequence[str] | None, name: str) -> bool:
    return metrics is None or any(name == metric or name.startswith(f"{metric}_") for metric in metrics)


def _subject(
    target: str | Path | None,
    *,
    run: str | Path,
    real: str | Path | None,
    teacher: str | Path | None,
    out: str | Path | None,
    progress: Progress,
) -> _Subject:
    found = _run_of(target, run, needed=real is None)
    path = Path(target) if target is not None else found.store if found else None
    if path is None:
        raise DgaugError("nothing to score: give a STORE or FOLDER")
    settings = found.settings().data if found is not None else None
    generated = GeneratedPictures.open(path, settings.image_size if settings else None)
    home = found.data_root() if found is not None and (real is None or found.knows_data()) else None
    root = Path(real) if real is not None else home
    if root is None:
        raise DgaugError("nothing to compare with: give --real DIR, the data set of real pictures")
    content = read_data(root, settings if settings and root == home else DataSettings(), progress=progress)
    judge = Path(teacher) if teacher is not None else found.teacher if found and found.teacher.is_file() else None
    folder = Path(out) if out is not None else found.scores if found else None
    return _Subject(generated, content, home or content.root, None if judge is None else _judge(judge), folder)


def _run_of(target: str | Path | None, run: str | Path, *, needed: bool) -> Run | None:
    if target is None:
        return find_run(str(run))
    inside = Run(Path(target).resolve().parent)
    if inside.config.is_file():
        return inside
    if needed and run == "latest":
        raise DgaugError(f"{target} lies in no run folder; give --real DIR, the data set to compare with, or --run RUN")
    return find_run(str(run)) if run != "latest" else None


def _judge(path: Path) -> ReidModel:
    model = load_reid(path)
    model.network.to(default_device())
    return model


def _encoders(
    subject: _Subject, metrics: Sequence[str] | None, inception_weights: str | Path | None, encoder: str | None
) -> list[Encoder]:
    device = default_device()
    found = []
    asked = metrics is not None and any(name in metrics for name in OF_INCEPTION)
    if asked or inception_weights is not None:
        found.append(fid_inception(None if inception_weights is None else Path(inception_weights), device=device))
    elif metrics is None and inception_cached():
        found.append(fid_inception(device=device))
    if metrics is not None and not any(name in metrics for name in OF_OTHER_ENCODER):
        return found
    if encoder is not None:
        name, equals, weights = encoder.partition("=")
        if not equals:
            raise DgaugError(f"--encoder {encoder!r}: expected NAME=FILE, a timm model and its weights")
        return [*found, timm_encoder(name, Path(weights), device=device)]
    if subject.judge is not None:
        return [*found, _judge_encoder(subject.judge)]
    if metrics is not None:
        raise DgaugError("--metrics frechet needs an encoder: --encoder NAME=FILE, or a run with a teacher")
    return found


def _judge_encoder(judge: ReidModel) -> Encoder:
    device = next(judge.network.parameters()).device
    size = judge.image_size

    def extract(pixels: Tensor) -> Tensor:
        pictures = normalise(pixels.to(device))
        if pictures.shape[2:] != size:
            pictures = interpolate(pictures, size=size, mode="bicubic", antialias=True)
        return judge.network.features(pictures)

    return Encoder("teacher", judge.network.feature_length, judge.sha256, extract)


def _donor_scores(subject: _Subject, seed: int) -> dict[str, Callable[[], dict[str, Any]] | str]:
    """How to compute each score that needs the donors, or why it cannot be."""
    generated, store, root, judge = subject.generated, subject.generated.store, subject.donors, subject.judge
    if store is None or root is None:
        return dict.fromkeys(OF_DONORS, "needs to know the donors: score a store, not a folder")
    pairs, sources = generated.pairs(), store.sources
    crossed = np.flatnonzero(sources.identity[pairs[:, 0]] != sources.identity[pairs[:, 1]])
    own = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    _, counts = np.unique(sources.identity[pairs[:, 0]], return_counts=True)

    def sample(among: NDArray[np.int64]) -> Sample:
        return generated.at(generated.choice(SAMPLE, seed, among=among))

    found: dict[str, Callable[[], dict[str, Any]] | str] = {
        "ssim": lambda: self_reconstruction(sample(own), sources, root),
        "diversity": lambda: {"diversity_dssim": diversity(generated, seed)},
        "identity": "needs a judge: a run with a teacher, or --teacher",
        "oracle": lambda: {"oracle": oracle_error(sample(crossed), sources, root)},
    }
    if judge is not None:
        known = judge.knows(sources.class_name) and judge.image_size == generated.image_size
        found["identity"] = (
            (lambda: identity_consistency(sample(crossed), sources, judge))
            if known
            else "the judge was trained for other identities or another picture size"
        )
    if not len(own):
        found["ssim"] = "the store has no picture of an appearance on its own structure"
    if counts.max() < 2:
        found["diversity"] = "needs two pictures of one appearance identity"
    if not len(crossed):
        found["identity"] = found["oracle"] = "the store has no pair of two identities"
    if not is_toy(root):
        found["oracle"] = "only the embedded data have true pictures"
    return found


def _described(subject: _Subject, sample: Sampling, encoders: dict[str, dict[str, object]]) -> dict[str, object]:
    generated = subject.generated
    store = generated.store
    return {
        "name": sample.protocol,
        "seed": sample.seed,
        "generated": {
            "pictures": len(generated),
            "sampled": sample.generated_count(generated),
            "pairs": store.spec.pairs if store else None,
            "codec": store.spec.codec if store else "files",
            "quality": store.spec.quality if store else None,
        },
        "real": {"images": len(subject.real.splits["train"]), "sampled": sample.real_count(), "split": "train"},
        "image_size": list(generated.image_size),
        "resize": "Pillow bicubic to image_size, then the encoder's own",
        "encoders": encoders,
        "judge": None if subject.judge is None else {"name": "teacher", "sha256": subject.judge.sha256},
        "looked_at_one_by_one": SAMPLE,
        "versions": {name: metadata.version(name) for name in ("dgaug", "torch", "torchvision", "pillow")},
    }


def _write(subject: _Subject, result: dict[str, Any], seed: int) -> None:
    folder = subject.folder
    if folder is None:
        return
    write_json(folder / "scores.json", result)
    rows = [{"metric": name, "value": value} for name, value in flat_scores(result["scores"]).items()]
    with whole(folder / "scores.csv") as aside:
        pd.DataFrame(rows).to_csv(aside, index=False)
    store = subject.generated.store
    if store is None or subject.donors is None:
        return
    sample = subject.generated.at(subject.generated.choice(SHEET_ROWS, seed))
    rows_of = {"appearance donors": sample.appearance, "structure donors": sample.structure}
    sheet = {
        name: donor_pictures(store.sources, donors, subject.donors, store.spec.image_size)
        for name, donors in rows_of.items()
        if donors is not None
    } | {"generated": sample.pixels}
    if is_toy(subject.donors):
        sheet["true picture"] = true_pictures(sample, store.sources, subject.donors)
    save_sheet(contact_sheet(list(map(list, sheet.values())), list(sheet)), folder / "pairs.png")


def flat_scores(scores: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Nested scores as one level, names joined by a slash."""
    flat: dict[str, float] = {}
    for name, value in scores.items():
        if isinstance(value, dict):
            flat |= flat_scores(value, f"{prefix}{name}/")
        else:
            flat[prefix + name] = value
    return flat
