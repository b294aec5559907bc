"""Training a re-id network on real pictures, and on generated ones beside them.

The teacher is the one-head network on real pictures alone; the models of `train-reid` have two heads and, when
fed, learn from a store with the published losses: prim from the teacher's soft label, fine from the structure donor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

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

FINE_WEIGHT = 0.2
PRIM_WEIGHT = 2.0


@dataclass(frozen=True)
class GeneratedBatch:
    """Generated pictures uint8 [S, H, W, 3], the teacher's soft labels [S, C], the structure donors' classes [S]."""

    pixels: Tensor
    soft_labels: Tensor
    structure_labels: Tensor


Feed = Callable[[int], GeneratedBatch]
"""The generated batch of an iteration."""


@dataclass(frozen=True)
class ReidJob:
    """Everything that decides the weights that come out.

    Attributes:
        architecture: arguments of `ReidNetwork`.
        weights: of the backbone, see `create_backbone`.
        start: tensors that replace freshly initialised ones of the same name and shape (a warm start).
        feed: generated pictures, or None for real ones only.
    """

    pictures: LabelledPictures
    settings: ReidSettings
    data: DataSettings
    architecture: Mapping[str, Any]
    weights: str
    seed: int
    start: Mapping[str, Tensor] | None = None
    feed: Feed | None = None
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
    schedule.seed_torch(job.seed)
    network = ReidNetwork(**job.architecture, weights=job.weights).to(device)
    if job.start:
        _warm_start(network, job.start)
    optimizer = _optimizer(network, job.settings)
    state_path = path.with_name(f"{path.stem}.state.pt")
    start = _resume(state_path, network, optimizer)
    batches = _real_batches(job, start, device)
    with stop_requests() as stop:
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


def _real_batches(job: ReidJob, start: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    dataset = TrainingPictures(job.pictures, pad=job.data.pad, positives=False)
    sampler = ShuffledBatches(len(dataset), job.settings.batch_size, seed=job.seed, start=start)
    return endless_batches(dataset, job.data.workers, sampler, device)


def _step(
    job: ReidJob, network: ReidNetwork, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], iteration: int
) -> dict[str, float]:
    settings = job.settings
    factor = schedule.decay(settings.milestones, settings.gamma, iteration, settings.iterations)
    factor *= schedule.warmup(settings.warmup, iteration, settings.iterations)
    for group, rate in zip(optimizer.param_groups, _rates(settings), strict=True):
        group["lr"] = rate * factor
    schedule.seed_torch(job.seed, iteration)
    rng = schedule.draws(job.seed, iteration)
    network.train()
    (pictures,), labels = batch
    logits = network(erase(pictures, settings.erasing, rng)).logits
    terms = {"identification": functional.cross_entropy(logits[0], labels)}
    total = terms["identification"]
    if isinstance(settings, FeedSettings):
        ramp = _ramp(settings, iteration)
        if len(logits) > 1:
            terms["fine"] = functional.cross_entropy(logits[1], labels)
            total = total + FINE_WEIGHT * PRIM_WEIGHT * terms["fine"]
        if job.feed is not None and ramp > 0:
            terms |= _generated_terms(network, job.feed(iteration), pictures.device)
            total = total + ramp * (terms["teacher"] + FINE_WEIGHT * terms["generated_fine"])
    if not torch.isfinite(total):
        raise DgaugError(f"training of {job.title} diverged at iteration {iteration}; lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    optimizer.step()
    return {name: float(term.detach()) for name, term in terms.items()} | {"total": float(total.detach())}


def _generated_terms(network: ReidNetwork, batch: GeneratedBatch, device: torch.device) -> dict[str, Tensor]:
    logits = network(normalise(batch.pixels.to(device))).logits
    soft_label = batch.soft_labels.to(device)
    return {
        "teacher": functional.kl_div(logits[0].log_softmax(dim=1), soft_label, reduction="batchmean"),
        "generated_fine": functional.cross_entropy(logits[-1], batch.structure_labels.to(device)),
    }


def _ramp(settings: FeedSettings, iteration: int) -> float:
    start = settings.ramp_start * settings.iterations
    length = max(1.0, settings.ramp_length * settings.iterations)
    return PRIM_WEIGHT * min(1.0, max(0.0, (iteration - start) / length))


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


def _warm_start(network: ReidNetwork, tensors: Mapping[str, Tensor]) -> None:
    own = network.state_dict()
    fitting = {name: tensor for name, tensor in tensors.items() if name in own and own[name].shape == tensor.shape}
    network.load_state_dict(fitting, strict=False)


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
