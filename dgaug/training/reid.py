"""Training a re-id network on real pictures, and on generated ones beside them.

The teacher is the one-head network on real pictures alone; the models of `train-reid` have two heads and, when
fed, learn from a store with the published losses: prim from the teacher's soft label, fine from the structure donor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dgaug.chance import draws, seed_torch
from dgaug.data.pixels import normalise
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.models import checkpoints
from dgaug.models.reid import ReidNetwork
from dgaug.progress import Progress, silent
from dgaug.settings import DataSettings, FeedSettings, ReidSettings
from dgaug.training import schedule
from dgaug.training.batches import LabelledPictures, ShuffledBatches, TrainingPictures, endless_batches
from dgaug.training.erasing import erase


@dataclass(frozen=True)
class GeneratedBatch:
    """Generated pictures uint8 [S, H, W, 3], their targets [S, C], the structure donors' classes [S]."""

    pixels: Tensor
    targets: Tensor
    structure_labels: Tensor


Feed = Callable[[int], GeneratedBatch]
"""The generated batch of an iteration."""


@dataclass(frozen=True)
class ReidJob:
    """Everything that decides the weights that come out.

    Attributes:
        architecture: arguments of `ReidNetwork`.
        weights: of the backbone, see `create_backbone`.
        feed: generated pictures, or None for real ones only.
        phase: names the random streams, so that a teacher and a later model do not share them.
        title: what the progress shows.
    """

    pictures: LabelledPictures
    settings: ReidSettings
    data: DataSettings
    architecture: Mapping[str, Any]
    weights: str
    seed: int
    feed: Feed | None = None
    phase: str = "teacher"
    title: str = "teacher"


def train_reid_network(
    job: ReidJob,
    path: Path,
    *,
    device: torch.device,
    save_every: int,
    progress: Progress = silent,
    on_log: Callable[[int, Mapping[str, float]], None] | None = None,
) -> ReidNetwork:
    """Train, or go on with, the network whose checkpoint is `path`; a complete one is loaded and returned.

    Raises:
        DgaugError: a loss is not finite.
        Interrupted: a signal arrived; the state was saved beside `path`.
    """
    if path.is_file():
        return checkpoints.load_reid(path).network.to(device)
    seed_torch(f"{job.phase}: weights", job.seed)
    network = ReidNetwork(**job.architecture, weights=job.weights).to(device)
    optimizer = _optimizer(network, job.settings)
    state_path = path.with_name(f"{path.stem}.state.pt")
    start = _resume(state_path, network, optimizer)
    batches = _real_batches(job, start, device)
    with closing(batches), stop_requests() as stop:
        for iteration in range(start, job.settings.iterations):
            terms = _step(job, network, optimizer, next(batches), iteration)
            progress(job.title, iteration + 1, job.settings.iterations, {"loss": terms["total"]})
            if on_log:
                on_log(iteration, terms)
            if stop or (iteration + 1) % save_every == 0:
                _save_state(state_path, network, optimizer, iteration + 1)
            stop.leave()
    content = checkpoints.reid_content(network, job.architecture, job.pictures.class_names, job.pictures.image_size)
    checkpoints.save(path, content)
    state_path.unlink(missing_ok=True)
    return network.eval()


def _real_batches(job: ReidJob, start: int, device: torch.device) -> Generator[tuple[Tensor, Tensor], None, None]:
    dataset = TrainingPictures(job.pictures, pad=job.data.pad, positives=False)
    sampler = ShuffledBatches(len(dataset), job.settings.batch_size, phase=job.phase, seed=job.seed, start=start)
    return endless_batches(dataset, job.data.workers, sampler, device)


def _step(
    job: ReidJob, network: ReidNetwork, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], iteration: int
) -> dict[str, float]:
    settings = job.settings
    factor = schedule.decay(settings.milestones, settings.gamma, iteration, settings.iterations)
    factor *= schedule.warmup(settings.warmup, iteration, settings.iterations)
    for group, rate in zip(optimizer.param_groups, _rates(settings), strict=True):
        group["lr"] = rate * factor
    seed_torch(f"{job.phase}: dropout", job.seed, iteration)
    rng = draws(f"{job.phase}: erasing", job.seed, iteration)
    weights = _weights(settings, iteration)
    network.train()
    terms = _real_terms(network, batch, settings.erasing, rng)
    if job.feed is not None and weights["teacher"] > 0:
        terms |= _generated_terms(network, job.feed(iteration), batch[1].device)
    total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    if not torch.isfinite(total):
        raise DgaugError(f"training of {job.title} diverged at iteration {iteration}; lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    optimizer.step()
    return {name: float(term.detach()) for name, term in (terms | {"total": total}).items()}


def _real_terms(
    network: ReidNetwork, batch: tuple[Tensor, Tensor], erasing: float, rng: np.random.Generator
) -> dict[str, Tensor]:
    (pictures,), labels = batch
    logits = network(erase(pictures, erasing, rng)).logits
    names = ("identification", "real_fine")
    return {name: functional.cross_entropy(head, labels) for name, head in zip(names, logits, strict=False)}


def _generated_terms(network: ReidNetwork, batch: GeneratedBatch, device: torch.device) -> dict[str, Tensor]:
    logits = network(normalise(batch.pixels.to(device))).logits
    targets = batch.targets.to(device)
    terms = {"teacher": functional.kl_div(logits[0].log_softmax(dim=1), targets, reduction="batchmean")}
    if len(logits) > 1:
        terms["fine"] = functional.cross_entropy(logits[1], batch.structure_labels.to(device))
    return terms


def _weights(settings: ReidSettings, iteration: int) -> dict[str, float]:
    """Weights by term: the published ones, the fine head on real pictures from the start."""
    if not isinstance(settings, FeedSettings):
        return {"identification": 1.0}
    start, length = (share * settings.iterations for share in (settings.ramp_start, settings.ramp_length))
    teacher = settings.teacher * min(1.0, max(0.0, (iteration + 1 - start) / max(1.0, length)))
    return {
        "identification": 1.0,
        "real_fine": settings.fine * settings.teacher,
        "teacher": teacher,
        "fine": settings.fine * teacher,
    }


def _rates(settings: ReidSettings) -> tuple[float, float]:
    return settings.learning_rate * settings.backbone_factor, settings.learning_rate


def _optimizer(network: ReidNetwork, settings: ReidSettings) -> torch.optim.SGD:
    backbone, heads = _rates(settings)
    return torch.optim.SGD(
        [
            {"params": network.backbone.parameters(), "lr": backbone},
            {"params": network.heads.parameters(), "lr": heads},
        ],
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        weight_decay=settings.weight_decay,
    )


def _save_state(path: Path, network: ReidNetwork, optimizer: torch.optim.Optimizer, iteration: int) -> None:
    content = {"iteration": iteration, "network": network.state_dict(), "optimizer": optimizer.state_dict()}
    checkpoints.save(path, {"format": "dgaug.reid-state", "version": checkpoints.VERSION} | content)


def _resume(path: Path, network: ReidNetwork, optimizer: torch.optim.Optimizer) -> int:
    if not path.is_file():
        return 0
    content = checkpoints.load(path, "dgaug.reid-state")
    checkpoints.load_state(network, content["network"], source=path)
    optimizer.load_state_dict(content["optimizer"])
    return int(content["iteration"])
