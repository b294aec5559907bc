"""The DG-Net phase of a run: iterations, checkpoints, previews, log."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from torch import Tensor

from dgaug.chance import seed_torch
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.models import checkpoints
from dgaug.models.checkpoints import ReidModel
from dgaug.pictures.sheet import save_sheet
from dgaug.processes import Processes
from dgaug.progress import Progress
from dgaug.runs import Run
from dgaug.settings import Settings
from dgaug.training import schedule
from dgaug.training.batches import LabelledPictures, TrainingPictures, endless_batches
from dgaug.training.dgnet import DGNet, Report
from dgaug.training.log import TrainingLog
from dgaug.training.networks import build_networks
from dgaug.training.objectives import SIDES
from dgaug.training.preview import preview
from dgaug.training.sampling import OrderedBatches, order_of
from dgaug.training.start import start_from
from dgaug.training.terms import Batch

SHOWN = ("total", "reconstruction")
_log = logging.getLogger("dgaug")


@dataclass(frozen=True)
class Training:
    """What one run trains on and with."""

    run: Run
    settings: Settings
    pictures: LabelledPictures
    teacher: ReidModel


def train_dgnet(training: Training, *, processes: Processes, progress: Progress, log: TrainingLog | None) -> None:
    """Train DG-Net to the end of its schedule, from wherever the run's checkpoint is; the first process writes.

    Raises:
        DgaugError: a loss is not finite; the last checkpoint stays as it is.
        Interrupted: a signal arrived; everything was saved.
    """
    settings, run = training.settings, training.run
    model, start = _model(training, processes)
    total, on_gpu = settings.schedule.iterations, processes.device.type == "cuda"
    if start and processes.first:
        _log.info("going on after iteration %d of %d: %s", start, total, run.folder)
    batches = _batches(training, model, start)
    unread: list[tuple[int, Report]] = []
    with closing(batches), stop_requests() as stop:
        for iteration in range(start, total):
            micro_batches = [_batch(*next(batches)) for _ in range(settings.schedule.accumulation)]
            with _divergence_named(iteration, run):
                unread.append((iteration, model.step(micro_batches, iteration)))
            done = iteration + 1
            saved = done % settings.checkpoint.every == 0 or done == total
            shown = done % settings.checkpoint.preview == 0 or done == total
            logged = iteration % settings.checkpoint.log == 0 or done == total
            # Reading terms waits for a GPU: there only when something is written, or somebody wants to stop.
            alone = processes.count == 1
            if on_gpu and not (saved or shown or logged or (alone and stop)):
                continue
            terms = _read(unread, run)
            stop.signal_number = processes.largest(stop.signal_number or 0) or None
            if processes.first:
                progress("DG-Net", done, total, {name: terms[name] for name in SHOWN if name in terms})
                if log and logged:
                    log.write("dgnet", iteration, terms, schedule.weights(settings.loss, settings.schedule, iteration))
                if shown:
                    sheet = preview(model.networks, training.pictures, seed=settings.seed)
                    save_sheet(sheet, run.samples / f"{done:08d}.png")
                if stop or saved:
                    _save(training, model, done)
            stop.leave()


def _read(unread: list[tuple[int, Report]], run: Run) -> Report:
    """The newest of the reports that nobody has read yet; all are read, so that no divergence is missed."""
    for iteration, report in unread:
        with _divergence_named(iteration, run):
            report.require_finite()
    newest = unread[-1][1]
    unread.clear()
    return newest


@contextmanager
def _divergence_named(iteration: int, run: Run) -> Iterator[None]:
    try:
        yield
    except FloatingPointError as error:
        raise DgaugError(
            f"training diverged at iteration {iteration}: {error}; the last checkpoint under {run.folder} "
            "is kept; lower optimizer.*, set optimizer.clip, or lengthen schedule.ramp_length"
        ) from error


def _batches(training: Training, model: DGNet, start: int) -> Generator[tuple[Tensor, Tensor], None, None]:
    settings = training.settings
    return endless_batches(
        TrainingPictures(training.pictures, pad=settings.data.pad, positives=True),
        settings.data.workers,
        OrderedBatches(
            order_of(settings.schedule, training.pictures.labels),
            settings.schedule.batch_size,
            phase="dgnet",
            seed=settings.seed,
            streams=SIDES,
            start=start,
            share=model.share,
        ),
        model.processes.device,
    )


def _batch(views: Tensor, labels: Tensor) -> Batch:
    pictures, positives = views
    return Batch(pictures, positives, labels)


def _model(training: Training, processes: Processes) -> tuple[DGNet, int]:
    settings = training.settings
    seed_torch("dgnet: weights", settings.seed)
    resumed = training.run.checkpoint.is_file()
    weights = "none" if resumed else None
    networks = build_networks(settings, len(training.pictures.class_names), weights=weights)
    networks.teacher = training.teacher.network
    if not resumed:
        start_from(networks, settings)
        networks.averaged.load_state_dict(networks.generator.state_dict())
        return DGNet(networks.to(processes.device), settings, processes), 0
    content = checkpoints.load(training.run.checkpoint, checkpoints.DGNET)
    for name, network in networks.saved().items():
        checkpoints.load_state(network, content["networks"][name], source=training.run.checkpoint)
    model = DGNet(networks.to(processes.device), settings, processes)
    # An imported checkpoint has none: the published files hold no usable ones.
    model.load_optimizers(content["optimizers"])
    return model, int(content["iteration"])


def _save(training: Training, model: DGNet, iteration: int) -> None:
    content = {
        "format": checkpoints.DGNET,
        "version": checkpoints.VERSION,
        "iteration": iteration,
        "settings": training.settings.model_dump(mode="json"),
        "class_names": training.pictures.class_names,
        "networks": {name: network.state_dict() for name, network in model.networks.saved().items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in model.optimizers.items()},
    }
    path = training.run.checkpoint
    checkpoints.save(path, content)
    if iteration % training.settings.checkpoint.every == 0:
        checkpoints.keep(path, path.with_name(f"{iteration:08d}.pt"))
