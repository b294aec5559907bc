"""The DG-Net phase of a run: iterations, checkpoints, previews, log."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from dgaug.data.normalisation import normalise
from dgaug.distributed import Processes
from dgaug.errors import DgaugError
from dgaug.figures.sheets import nxn_sheet, save_sheet
from dgaug.interrupts import stop_requests
from dgaug.models import checkpoints
from dgaug.models.checkpoints import ReidModel
from dgaug.models.generator import every_pair
from dgaug.progress import Progress
from dgaug.runs import Run
from dgaug.seeding import draws, seed_torch
from dgaug.settings import Settings
from dgaug.training import schedule
from dgaug.training.batches import LabelledImages, TrainingImages, endless_batches
from dgaug.training.dgnet import DGNet, Report
from dgaug.training.divergence import broken_weights, divergence, shown_images
from dgaug.training.initial_weights import start_from
from dgaug.training.log import TrainingLog
from dgaug.training.losses import SIDES, Batch
from dgaug.training.networks import Networks, build_networks
from dgaug.training.sampling import WHOLE, OrderedBatches, Share, order_of

SHOWN = ("total", "reconstruction")
_log = logging.getLogger("dgaug")
PREVIEW_DONORS = 6


@dataclass(frozen=True)
class Training:
    """What one run trains on and with."""

    run: Run
    settings: Settings
    images: LabelledImages
    teacher: ReidModel


def train_dgnet(training: Training, *, processes: Processes, progress: Progress, log: TrainingLog | None) -> None:
    """Train DG-Net to the end of its schedule, from wherever the run's checkpoint is; rank 0 writes.

    Raises:
        DgaugError: a loss is not finite; the last checkpoint stays as it is.
        Interrupted: a signal arrived; everything was saved.
    """
    settings, run = training.settings, training.run
    model, start = _model(training, processes)
    total, on_gpu = settings.schedule.iterations, processes.device.type == "cuda"
    if start and processes.is_rank_zero:
        _log.info("resuming from iteration %d of %d: %s", start, total, run.folder)
    dataset, sampler = _shown(training, start=start, share=model.share)
    batches = endless_batches(dataset, settings.data.workers, sampler, processes.device)
    unread: list[tuple[int, Report]] = []
    with closing(batches), stop_requests() as stop:
        for iteration in range(start, total):
            read = [next(batches) for _ in range(settings.schedule.accumulation)]
            micro_batches = [Batch(images, positives, labels) for (images, positives), labels in read]
            try:
                unread.append((iteration, model.step(micro_batches, iteration)))
            except FloatingPointError as error:
                raise _diverged(training, iteration, str(error)) from error
            done = iteration + 1
            saved = done % settings.checkpoint.every == 0 or done == total
            shown = done % settings.checkpoint.preview == 0 or done == total
            logged = iteration % settings.checkpoint.log == 0 or done == total
            # Reading terms waits for a GPU: there only when something is written, or somebody wants to stop.
            alone = processes.world_size == 1
            if on_gpu and not (saved or shown or logged or (alone and stop)):
                continue
            terms = _read(unread, training)
            stop.signal_number = processes.max(stop.signal_number or 0) or None
            if processes.is_rank_zero:
                progress("DG-Net", done, total, {name: terms[name] for name in SHOWN if name in terms})
                if log and logged:
                    log.write("dgnet", iteration, terms, schedule.weights(settings.loss, settings.schedule, iteration))
                if shown:
                    sheet = preview(model.networks, training.images, seed=settings.seed)
                    path = run.samples / f"{done:08d}.png"
                    save_sheet(sheet, path)
                    if log:
                        log.image("samples", path, iteration)
                if stop or saved:
                    _save(training, model, done)
            stop.leave()


def _read(unread: list[tuple[int, Report]], training: Training) -> Report:
    """The newest of the reports that nobody has read yet; all are read, so that no divergence is missed."""
    for iteration, report in unread:
        reason = divergence(report)
        if reason is not None:
            raise _diverged(training, iteration, reason)
    newest = unread[-1][1]
    unread.clear()
    return newest


def _shown(training: Training, *, start: int, share: Share) -> tuple[TrainingImages, OrderedBatches]:
    """What training sees, and in which order."""
    settings = training.settings
    sampler = OrderedBatches(
        order_of(settings.schedule, training.images.labels),
        settings.schedule.batch_size,
        phase="dgnet",
        seed=settings.seed,
        streams=SIDES,
        start=start,
        share=share,
    )
    return TrainingImages(training.images, pad=settings.data.pad, positives=True), sampler


def _diverged(training: Training, iteration: int, reason: str) -> DgaugError:
    """What went wrong, what to change, and the images of this iteration and of the one whose update led here."""
    dataset, sampler = _shown(training, start=0, share=WHOLE)
    seen = shown_images(dataset, sampler, range(max(0, iteration - 1), iteration + 1))
    return DgaugError(
        f"training diverged at iteration {iteration}: {reason}; the last checkpoint under {training.run.folder} is "
        "kept; start over (--force) with lower rates (--set optimizer.generator=..., optimizer.discriminator, "
        "optimizer.backbone, optimizer.heads), --set optimizer.clip=1 or a longer --set schedule.ramp_length=..., or "
        f"without an image that is none; {seen}"
    )


def _model(training: Training, processes: Processes) -> tuple[DGNet, int]:
    settings = training.settings
    seed_torch("dgnet: weights", settings.seed)
    resumed = training.run.checkpoint.is_file()
    weights = "none" if resumed else None
    networks = build_networks(settings, len(training.images.class_names), weights=weights)
    networks.teacher = training.teacher.network
    if not resumed:
        start_from(networks, settings)
        networks.generator_ema.load_state_dict(networks.generator.state_dict())
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
        "class_names": training.images.class_names,
        "networks": {name: network.state_dict() for name, network in model.networks.saved().items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in model.optimizers.items()},
    }
    reason = broken_weights(model.networks.saved())
    if reason is not None:
        raise _diverged(training, iteration - 1, reason)
    path = training.run.checkpoint
    checkpoints.save(path, content)
    if iteration % training.settings.checkpoint.every == 0:
        checkpoints.keep(path, path.with_name(f"{iteration:08d}.pt"))


def preview(networks: Networks, images: LabelledImages, *, seed: int) -> Image.Image:
    """The N x N sheet of a few identities, one image each, drawn by the EMA generator."""
    rows = _donors(images, seed)
    pixels = np.stack([images.resized[row] for row in rows])
    device = next(networks.generator.parameters()).device
    donors = normalise(torch.from_numpy(pixels).to(device))
    networks.appearance.eval()
    with torch.no_grad():
        adain = networks.generator_ema.adain(networks.appearance(donors).appearance)
        structure = networks.generator_ema.structure(donors)
        cells = every_pair(networks.generator_ema.decoder, [structure], adain)
    networks.appearance.train()
    return nxn_sheet(cells, pixels, pixels)


def _donors(images: LabelledImages, seed: int) -> list[int]:
    rng = draws("preview", seed)
    labels = images.labels.numpy()
    chosen = rng.permutation(len(images.class_names))[:PREVIEW_DONORS]
    return [int(rng.choice(np.flatnonzero(labels == label))) for label in chosen]
