"""What a call of `score_fid` will compute: encoders, images of both sides, and all that moves the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dgaug.device import default_device
from dgaug.errors import DgaugError
from dgaug.scores.quality.donor_metrics import BLOCK, SAMPLE, Donors
from dgaug.scores.quality.encoders import (
    INCEPTION_NAME,
    Encoder,
    encoder_named,
    fid_inception,
    inception_cached,
    judge_named,
    reid_encoder,
    require_independent,
)
from dgaug.scores.quality.feature_metrics import kernel_scores, kernel_subset
from dgaug.scores.quality.feature_statistics import BATCH, KEPT, Given
from dgaug.scores.quality.fid_protocols import Preparation, Protocol
from dgaug.scores.quality.image_sets import ImageSet, Rows
from dgaug.scores.quality.inputs import Side, Subject
from dgaug.scores.quality.metrics import ANY, INCEPTION, METRICS, OTHER, Metric
from dgaug.scores.quality.ssim import ssim_parameters

JUDGED = 1024
"""Generated images that an independent judge is asked about."""


@dataclass(frozen=True)
class Chosen:
    """The images of one side: which, in which order, what is done to them, and the digest of their contents."""

    images: ImageSet
    rows: Rows
    preparation: Preparation
    digest: str


@dataclass(frozen=True)
class Plan:
    """What will be computed.

    Attributes:
        encoders: whose features are compared; the clouds are those of the first.
        judge: who is asked for identities; None: nobody but the teacher.
        image_size: (H, W) of the generated images; None for given statistics.
    """

    subject: Subject
    protocol: Protocol
    metrics: Sequence[str] | None
    encoders: list[Encoder]
    judge: Encoder | None
    generated: Chosen | Given
    real: Chosen | Given
    image_size: tuple[int, int] | None

    def wants(self, name: str) -> bool:
        """Whether a metric is asked for."""
        return self.metrics is None or name in self.metrics

    def of_features(self, encoder: Encoder) -> list[Metric]:
        """The metrics asked for that take an encoder's features."""
        own = INCEPTION if encoder.name == INCEPTION_NAME else OTHER
        return [metric for metric in METRICS.values() if metric.encoder in (own, ANY) and self.wants(metric.name)]

    @property
    def of_donors(self) -> list[Metric]:
        """The metrics asked for that need the donors."""
        return [metric for metric in METRICS.values() if not metric.encoder and self.wants(metric.name)]

    @cached_property
    def donors(self) -> Donors | str:
        """The donors of the generated images, or why they are not known; all pairs of a store are read for it."""
        return Donors.of(self.subject.generated, self.subject.donors, self.protocol.seed)

    def no_reconstructions(self) -> Tensor | None:
        """Of the kept generated images of a store those with two donors; None: all, or duplicates are not wanted."""
        if isinstance(self.generated, Given) or self.generated.images.store is None or not self.wants("duplicates"):
            return None
        pairs = self.generated.images.pairs()[self.generated.rows[:KEPT]]
        return torch.from_numpy(np.flatnonzero(pairs[:, 0] != pairs[:, 1]))

    def described(self) -> dict[str, Any]:
        """Everything that moves the scores, for the result."""
        teacher = self.subject.teacher
        return {
            "name": self.protocol.name,
            "seed": self.protocol.seed,
            "metrics": "all" if self.metrics is None else sorted(self.metrics),
            "generated": _described(self.generated, self.subject.generated),
            "real": _described(self.real, self.subject.real),
            "image_size": None if self.image_size is None else list(self.image_size),
            "encoders": {
                encoder.name: {"sha256": encoder.sha256, "dimension": encoder.dimension} for encoder in self.encoders
            },
            "teacher": None if teacher is None else {"sha256": teacher.sha256},
            "judge": None if self.judge is None else {"name": self.judge.name, "sha256": self.judge.sha256},
            "batch": BATCH,
            **self._used(),
            "ssim": ssim_parameters(),
            "device": default_device().type,
            "versions": {name: metadata.version(name) for name in ("dgaug", "torch", "torchvision", "timm", "pillow")},
        }

    def _used(self) -> dict[str, Any]:
        """How many images the scores are really taken over, see `results.FOLLOWS`; None where a score is not taken."""
        sides = {"generated": self.generated, "real": self.real}
        kept = {
            name: None if isinstance(side, Given) else min(KEPT, len(side.rows))
            for name, side in sides.items()
            if self.encoders
        }
        fewer = min((count or 0 for count in kept.values()), default=0)
        taken = [metric.of_features for encoder in self.encoders for metric in self.of_features(encoder)]
        return {
            "features_kept": kept or None,
            "kernel_subset": kernel_subset(fewer) if kernel_scores in taken else None,
            **self._used_of_donors(),
        }

    def _used_of_donors(self) -> dict[str, Any]:
        donors = self.donors if self.of_donors else ""
        if isinstance(donors, str):
            return dict.fromkeys(("looked_at_one_by_one", "judged", "block"))
        crossed = len(donors.crossed)
        judged = {"generated": min(JUDGED, crossed), "real": min(JUDGED, len(donors.store.sources))}
        return {
            "looked_at_one_by_one": min(SAMPLE, crossed) if any(metric.sampled for metric in self.of_donors) else None,
            "judged": judged if self.judge is not None and crossed and self.wants("identity") else None,
            "block": [BLOCK, BLOCK] if self.wants("variance") and donors.block is not None else None,
        }


def plan_of(
    subject: Subject,
    protocol: Protocol,
    *,
    metrics: Sequence[str] | None,
    inception_weights: str | Path | None,
    encoder: str | None,
    judge: str | None,
) -> Plan:
    """Decide what is computed; the contents of both sides are read for it, but no network runs.

    Raises:
        DgaugError: weights are missing, images are damaged, too few or of two sizes, or the judge is not independent.
    """
    encoders = _encoders(subject, metrics, inception_weights, encoder)
    judging = None if judge is None else judge_named(judge, device=default_device())
    if judging is not None:
        require_independent(judging, _involved(subject))
    generated, real = subject.generated, subject.real
    size = None if isinstance(generated, Given) else generated.one_size()
    rows: list[tuple[ImageSet, Rows]] = []
    for side, other in ((generated, real), (real, generated)):
        if not isinstance(side, Given):
            choose = protocol.generated_rows if side is generated else protocol.real_rows
            rows.append((side, choose(side, other.count if isinstance(other, Given) else len(other))))
    _require_enough(metrics or (), rows, [side for side in (generated, real) if isinstance(side, Given)])
    chosen = {
        side is generated: Chosen(
            side, taken, protocol.preparation(side, generated=side is generated), side.digest(taken)
        )
        for side, taken in rows
    }
    sides = [side if isinstance(side, Given) else chosen[side is generated] for side in (generated, real)]
    return Plan(subject, protocol, metrics, encoders, judging, sides[0], sides[1], size)


def _require_enough(metrics: Sequence[str], sides: Sequence[tuple[ImageSet, Rows]], given: Sequence[Given]) -> None:
    """Refuse sides that have too few images at all, or for a metric asked for by name; name the one that has."""
    if not sides:
        return
    # Where a protocol takes as many of the larger side, both have equally many rows.
    small, taken = min(sides, key=lambda side: (len(side[1]), len(side[0])))
    if len(taken) < 2:
        raise DgaugError(f"{small.root}: at least 2 images are needed to compare sets, found {len(taken)}")
    for name, least in ((metric.name, metric.least) for metric in METRICS.values() if metric.name in metrics):
        if not least:
            continue
        if given:
            raise DgaugError(f"--metrics {name} needs the images of both sides, {given[0].path} holds statistics only")
        if len(taken) < least:
            raise DgaugError(
                f"--metrics {name} needs at least {least} images on each side, found {len(taken)} in {small.root}"
            )


def _encoders(
    subject: Subject, metrics: Sequence[str] | None, inception_weights: str | Path | None, encoder: str | None
) -> list[Encoder]:
    device = default_device()
    described = []
    asked = [METRICS[name] for name in metrics or ()]
    if any(metric.encoder == INCEPTION for metric in asked) or inception_weights is not None:
        described.append(fid_inception(None if inception_weights is None else Path(inception_weights), device=device))
    elif metrics is None and inception_cached():
        described.append(fid_inception(device=device))
    needed = [metric for metric in METRICS.values() if metric in asked and metric.encoder in (OTHER, ANY)]
    if metrics is not None and not needed:
        return described
    if encoder is not None:
        return [*described, encoder_named(encoder, option="--encoder", device=device)]
    if subject.teacher is not None:
        return [*described, reid_encoder(subject.teacher, "teacher")]
    if any(metric.encoder == OTHER or not described for metric in needed):
        raise DgaugError(f"--metrics {needed[0].name} needs an encoder: --encoder NAME=FILE, or a run with a teacher")
    return described


def _involved(subject: Subject) -> dict[str, str]:
    """What had a part in making the images: sha256 by name."""
    described = {}
    if isinstance(subject.generated, ImageSet) and subject.generated.store is not None:
        spec = subject.generated.store.spec
        described = {"the teacher of the store": spec.teacher_sha256, "the store's generator": spec.generator_sha256}
    if subject.teacher is not None:
        described["the run's teacher"] = subject.teacher.sha256
    return described


def _described(chosen: Chosen | Given, side: Side) -> dict[str, Any]:
    if isinstance(chosen, Given):
        return {"kind": "statistics", "sampled": chosen.count, "contents": chosen.sha256}
    result: dict[str, Any] = {
        "kind": chosen.images.kind,
        "pictures": len(chosen.images),
        "sampled": len(chosen.rows),
        "contents": chosen.digest,
    }
    store = chosen.images.store
    if store is not None:
        result |= {"pairs": store.spec.pairs, "codec": store.spec.codec, "quality": store.spec.quality}
    return result | chosen.preparation.described()
