"""The DG-Net phase of a run: iterations, checkpoints, previews, log."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import torch

from dgaug.chance import seed_torch
from dgaug.errors import DgaugError
from dgaug.interrupts import stop_requests
from dgaug.models import checkpoints
from dgaug.models.checkpoints import ReidModel
from dgaug.pictures.sheet import save_sheet
from dgaug.progress import Progress
from dgaug.runs import Run
from dgaug.settings import Settings
from dgaug.training import schedule
from dgaug.training.batches import LabelledPictures, ShuffledBatches, TrainingPictures, endless_batches
from dgaug.training.dgnet import Batch, DGNet, Networks, build_networks
from dgaug.training.log import TrainingLog
from dgaug.training.preview import preview
from dgaug.training.start import start_from

SHOWN = ("total", "reconstruction")


@dataclass(frozen=True)
class Training:
    """What one run trains on and with."""

    run: Run
    settings: Settings
    pictures: LabelledPictures
    teacher: ReidModel


def train_dgnet(training: Training, *, device: torch.device, progress: Progress, log: TrainingLog) -> None:
    """Train DG-Net to the end of its schedule, from wherever the run's checkpoint is.

    Raises:
        DgaugError: a loss is not finite; the last checkpoint stays as it is.
        Interrupted: a signal arrived; everything was saved.
    """
    settings, run = training.settings, training.run
    model, start = _model(training, device)
    total = settings.schedule.iterations
    batches = endless_batches(
        TrainingPictures(training.pictures, pad=settings.data.pad, positives=True),
        settings.data.workers,
        ShuffledBatches(
            len(training.pictures.paths),
            settings.schedule.batch_size,
            phase="dgnet",
            seed=settings.seed,
            streams=2,
            start=start,
        ),
        device,
    )
    with closing(batches), stop_requests() as stop:
        for iteration in range(start, total):
            (pictures, positives), labels = next(batches)
            try:
                terms = model.step(Batch(pictures, positives, labels), iteration)
            except FloatingPointError as error:
                raise DgaugError(
                    f"training diverged at iteration {iteration}: {error}; the last checkpoint under {run.folder} "
                    "is kept; lower optimizer.* or lengthen schedule.ramp_length"
                ) from error
            done = iteration + 1
            progress("DG-Net", done, total, {name: terms[name] for name in SHOWN if name in terms})
            if iteration % settings.checkpoint.log == 0 or done == total:
                log.write("dgnet", iteration, terms, schedule.weights(settings.loss, settings.schedule, iteration))
            if done % settings.checkpoint.preview == 0 or done == total:
                sheet = preview(model.networks, training.pictures, seed=settings.seed)
                save_sheet(sheet, run.samples / f"{done:08d}.png")
            if stop or done % settings.checkpoint.every == 0 or done == total:
                _save(training, model, done)
            stop.leave()


def _model(training: Training, device: torch.device) -> tuple[DGNet, int]:
    settings = training.settings
    seed_torch("dgnet: weights", settings.seed)
    resumed = training.run.checkpoint.is_file()
    weights = "none" if resumed else None
    networks = build_networks(settings, len(training.pictures.class_names), weights=weights)
    networks.teacher = training.teacher.network
    if not resumed:
        start_from(networks, settings)
        networks.averaged.load_state_dict(networks.generator.state_dict())
        return DGNet(networks.to(device), settings), 0
    model = DGNet(networks.to(device), settings)
    content = checkpoints.load(training.run.checkpoint, checkpoints.DGNET)
    for name, network in _saved_networks(networks).items():
        checkpoints.load_state(network, content["networks"][name], source=training.run.checkpoint)
    for name, optimizer in model.optimizers.items():
        optimizer.load_state_dict(content["optimizers"][name])
    return model, int(content["iteration"])


def _save(training: Training, model: DGNet, iteration: int) -> None:
    content = {
        "format": checkpoints.DGNET,
        "version": checkpoints.VERSION,
        "iteration": iteration,
        "settings": training.settings.model_dump(mode="json"),
        "class_names": training.pictures.class_names,
        "networks": {name: network.state_dict() for name, network in _saved_networks(model.networks).items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in model.optimizers.items()},
    }
    path = training.run.checkpoint
    checkpoints.save(path, content)
    if iteration % training.settings.checkpoint.every == 0:
        checkpoints.keep(path, path.with_name(f"{iteration:08d}.pt"))


def _saved_networks(networks: Networks) -> dict[str, torch.nn.Module]:
    return {
        "generator": networks.generator,
        "averaged": networks.averaged,
        "appearance": networks.appearance,
        "discriminator": networks.discriminator,
    }
