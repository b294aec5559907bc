"""Training a re-id network on real images, and on generated ones beside them.

The teacher is the one-head network on real images alone; the models of `train-reid` are fed with generated ones too,
prefetched one iteration ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.models import checkpoints
from dgaug.models.reid import ReidNetwork
from dgaug.progress import Progress, silent
from dgaug.seeding import draws, seed_torch
from dgaug.settings import DataSettings, ReidSettings
from dgaug.training import schedule
from dgaug.training.augmentation import Box, erase, greyed, jittered, sample_boxes, sample_factors, shifted
from dgaug.training.batches import LabelledImages, TrainingImages, endless_batches
from dgaug.training.divergence import broken_weights, divergence, shown_images
from dgaug.training.reid_losses import Feed, GeneratedBatch, ReidTerms, term_weights
from dgaug.training.sampling import WHOLE, OrderedBatches, Share, order_of

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4


@dataclass(frozen=True)
class ReidJob:
    """Everything that decides the weights that come out.

    Attributes:
        architecture: arguments of `ReidNetwork`.
        class_names: of its classes, where they are more than the identities.
        weights: of the backbone, see `create_backbone`.
        feed: generated images, or None for real ones only.
        precision: fp32 or bf16.
        phase: names the random streams, so that a teacher and a later model do not share them.
        title: what the progress shows.
    """

    images: LabelledImages
    settings: ReidSettings
    data: DataSettings
    architecture: Mapping[str, Any]
    weights: str
    seed: int
    feed: Feed | None = None
    precision: str = "fp32"
    class_names: Sequence[str] | None = None
    phase: str = "teacher"
    title: str = "teacher"


def train_reid_network(
    job: ReidJob,
    path: Path,
    *,
    processes: Processes,
    save_every: int,
    progress: Progress = silent,
    on_log: Callable[[int, Mapping[str, float]], None] | None = None,
) -> None:
    """Train, or resume training of, the network whose checkpoint is `path`; a complete one is left as it is.

    Rank 0 writes and logs.

    Raises:
        DgaugError: a loss is not finite.
        Interrupted: a signal arrived; the state was saved beside `path`.
    """
    if path.is_file():
        processes.barrier()
        return
    seed_torch(f"{job.phase}: weights", job.seed)
    network = ReidNetwork(**job.architecture, weights=job.weights).to(processes.device)
    optimizer = _optimizer(network, job.settings)
    state_path = path.with_name(f"{path.stem}.state.pt")
    start = _resume(state_path, network, optimizer)
    share = Share(processes.rank, processes.world_size, job.settings.accumulation)
    dataset, sampler = _shown(job, start=start, share=share)
    batches = endless_batches(dataset, job.data.workers, sampler, processes.device)
    with closing(batches), ahead_of(job.feed, processes.device) as feed, stop_requests() as stop:
        loop = _Loop(replace(job, feed=feed), network, optimizer, processes, share)
        total, read_every = job.settings.iterations, _read_every(processes.device)
        waiting: list[_Terms] = []
        for iteration in range(start, total):
            waiting.append(loop.step([next(batches) for _ in range(job.settings.accumulation)], iteration))
            done = iteration + 1
            stop.signal_number = processes.max(stop.signal_number or 0) or None
            saved = bool(stop) or done % save_every == 0
            if saved or done % read_every == 0 or done == total:
                read = _read(waiting, job)
                if processes.is_rank_zero:
                    progress(job.title, done, total, {"loss": read[-1]["total"]})
                    if on_log:
                        for terms, values in zip(waiting, read, strict=True):
                            on_log(terms.iteration, values)
                    if saved:
                        _require_finite(job, network, iteration)
                        _save_state(state_path, network, optimizer, done)
                waiting = []
            stop.leave()
    if processes.is_rank_zero:
        _require_finite(job, network, job.settings.iterations - 1)
        names = list(job.class_names or job.images.class_names)
        content = checkpoints.reid_content(network, job.architecture, names, job.images.image_size)
        checkpoints.save(path, content)
        state_path.unlink(missing_ok=True)
    processes.barrier()


@contextmanager
def ahead_of(feed: Feed | None, device: torch.device) -> Iterator[Feed | None]:
    """The same feed, its next batch made in a thread and, on CUDA, on a stream; beside a CPU the feed itself.

    A CPU has no time to spare. Only that thread touches the feed, and it ends with the block.
    """
    if feed is None or device.type == "cpu":
        yield feed
        return
    with ThreadPoolExecutor(1) as thread:
        yield _Ahead(feed, thread, device)


_Made = tuple[GeneratedBatch, "torch.cuda.Event | None"]
"""A batch, and what happens on the stream once the device has computed it."""


class _Ahead:
    def __init__(self, feed: Feed, thread: ThreadPoolExecutor, device: torch.device) -> None:
        self._feed = feed
        self._thread = thread
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # What the feed draws with may still be on its way to the device.
            self._stream.wait_stream(torch.cuda.current_stream(device))
        self._made: dict[int, Future[_Made]] = {}

    def __call__(self, iteration: int) -> GeneratedBatch:
        for wanted in (iteration, iteration + 1):
            if wanted not in self._made:
                self._made[wanted] = self._thread.submit(self._make, wanted)
        batch, queued = self._made.pop(iteration).result()
        if queued is not None:
            training = torch.cuda.current_stream(self._device)
            training.wait_event(queued)
            for tensor in vars(batch).values():
                tensor.record_stream(training)
        return batch

    def _make(self, iteration: int) -> _Made:
        if self._stream is None:
            return self._feed(iteration), None
        with torch.cuda.stream(self._stream):
            return self._feed(iteration), self._stream.record_event()


def _shown(job: ReidJob, *, start: int, share: Share) -> tuple[TrainingImages, OrderedBatches]:
    """The real images that training sees, and in which order."""
    order = order_of(job.settings, job.images.labels)
    sampler = OrderedBatches(order, job.settings.batch_size, phase=job.phase, seed=job.seed, start=start, share=share)
    return TrainingImages(job.images, pad=job.data.pad, positives=False), sampler


def _diverged(job: ReidJob, iteration: int, reason: str) -> DgaugError:
    """What went wrong, what to change, and the images of this iteration and of the one whose update led here."""
    seen = shown_images(*_shown(job, start=0, share=WHOLE), range(max(0, iteration - 1), iteration + 1))
    section = "teacher" if job.phase == "teacher" else "reid"
    return DgaugError(
        f"training of {job.title} diverged at iteration {iteration}; lower the learning rate and start over (--force "
        f"--set {section}.learning_rate={job.settings.learning_rate / 4:g}): {reason}; {seen}"
    )


def _require_finite(job: ReidJob, network: ReidNetwork, iteration: int) -> None:
    reason = broken_weights({job.title: network})
    if reason is not None:
        raise _diverged(job, iteration, reason)


class _Terms(NamedTuple):
    """The terms of an iteration by name, on the device, which may still be computing them."""

    iteration: int
    names: list[str]
    values: Tensor


def _read_every(device: torch.device) -> int:
    """After how many iterations losses are read: the host waits for a GPU then."""
    return 1 if device.type == "cpu" else 20


def _read(waiting: list[_Terms], job: ReidJob) -> list[dict[str, float]]:
    """The terms of some iterations; the host waits once for all. DgaugError where training has diverged."""
    losses = []
    values = torch.cat([terms.values for terms in waiting]).tolist() if waiting else []
    for terms in waiting:
        read, values = values[: len(terms.names)], values[len(terms.names) :]
        losses.append(dict(zip(terms.names, read, strict=True)))
        reason = divergence(losses[-1])
        if reason is not None:
            raise _diverged(job, terms.iteration, reason)
    return losses


@dataclass(frozen=True)
class _Colours:
    """What happens to the colours of a batch: jitter, then a grey rectangle; None: nothing."""

    factors: NDArray[np.float32] | None
    boxes: list[Box] | None

    @classmethod
    def sample(cls, job: ReidJob, count: int, purpose: str, iteration: int) -> _Colours:
        rng, settings = draws(purpose, job.seed, iteration), job.settings
        factors = sample_factors(count, settings.jitter, rng) if settings.jitter else None
        boxes = sample_boxes(count, job.images.image_size, settings.local_grey, rng) if settings.local_grey else None
        return cls(factors, boxes)

    def applied(self, images: Tensor, places: range) -> Tensor:
        """The images [B, 3, H, W] at some places of the batch."""
        if self.factors is not None:
            images = jittered(images, self.factors[places.start : places.stop])
        return images if self.boxes is None else greyed(images, self.boxes[places.start : places.stop])


@dataclass
class _Loop:
    """One iteration after the other."""

    job: ReidJob
    network: ReidNetwork
    optimizer: torch.optim.Optimizer
    processes: Processes
    share: Share

    def __post_init__(self) -> None:
        self.terms = self.processes.wrap(ReidTerms(self.network, self.job.settings))

    def step(self, batches: Sequence[tuple[Tensor, Tensor]], iteration: int) -> _Terms:
        """Train on this process's share of a batch; terms, means over all shares."""
        job, settings = self.job, self.job.settings
        self._set_rates(iteration)
        rng = draws(f"{job.phase}: erasing", job.seed, iteration)
        boxes = sample_boxes(settings.batch_size, job.images.image_size, settings.erasing, rng)
        colours = _Colours.sample(job, settings.batch_size, f"{job.phase}: colours", iteration)
        weights = term_weights(settings, iteration)
        generated = self._generated(job.feed, iteration) if job.feed is not None and weights["teacher"] > 0 else None
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for turn, ((images,), labels) in enumerate(batches):
            seed_torch(f"{job.phase}: dropout", job.seed, iteration, self.share.rank * self.share.turns + turn)
            places = self.share.rows(settings.batch_size, turn)
            mine = [boxes[place] for place in places]
            shown = colours.applied(images, places)
            with self.processes.averaging(self.terms, now=turn + 1 == len(batches)):
                with torch.autocast(labels.device.type, torch.bfloat16, enabled=job.precision == "bf16"):
                    terms = self.terms(erase(shown, mine), labels, self._part(generated, turn))
                total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
                torch.autograd.backward(total / len(batches))
            losses.append(torch.stack([*terms.values(), total]).detach())
        values = self.processes.mean(torch.stack(losses).mean(dim=0))
        self.optimizer.step()
        self.processes.average_statistics(self.network)
        return _Terms(iteration, [*terms, "total"], values)

    def _generated(self, feed: Feed, iteration: int) -> GeneratedBatch:
        """The generated batch of an iteration, mirrored, shifted, coloured and erased as real images are."""
        job, batch = self.job, feed(iteration)
        rng = draws(f"{job.phase}: generated", job.seed, iteration)
        images = shifted(batch.images, job.data.pad, rng)
        colours = _Colours.sample(job, len(images), f"{job.phase}: colours of generated", iteration)
        images = colours.applied(images, range(len(images)))
        boxes = sample_boxes(len(images), job.images.image_size, job.settings.erasing, rng)
        return replace(batch, images=erase(images, boxes))

    def _part(self, generated: GeneratedBatch | None, turn: int) -> GeneratedBatch | None:
        return None if generated is None else generated.part(self.share.rows(len(generated.images), turn))

    def _set_rates(self, iteration: int) -> None:
        settings = self.job.settings
        factor = schedule.decay(settings.milestones, settings.gamma, iteration, settings.iterations)
        factor *= schedule.warmup(settings.warmup, iteration, settings.iterations)
        for group, rate in zip(self.optimizer.param_groups, _rates(settings), strict=True):
            group["lr"] = rate * factor


def _rates(settings: ReidSettings) -> tuple[float, float]:
    return settings.learning_rate * settings.backbone_factor, settings.learning_rate


def _optimizer(network: ReidNetwork, settings: ReidSettings) -> torch.optim.SGD:
    backbone, heads = _rates(settings)
    return torch.optim.SGD(
        [
            {"params": network.backbone.parameters(), "lr": backbone},
            {"params": network.heads.parameters(), "lr": heads},
        ],
        momentum=MOMENTUM,
        nesterov=True,
        weight_decay=WEIGHT_DECAY,
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
