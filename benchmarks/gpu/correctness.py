"""Step 1: does a GPU compute what the CPU computes, and what a resumed run computes."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from record import Record, Values
from torch import Tensor
from training_iteration import (
    AFTER_RAMPS,
    CHECK_BATCH,
    CHECK_SIZE,
    differing_terms,
    make_batch,
    make_networks,
    settings_of,
)

import dgaug
from dgaug.cuda_math import exact_products
from dgaug.distributed import Processes
from dgaug.settings import Settings
from dgaug.training.dgnet import DGNet

STEP = "correctness"
STILL = ("model.prim_dropout=0", "model.fine_dropout=0", "loss.erasing=0")
TINY = (
    "data.height=64", "data.width=32", "data.pad=2", "data.workers=0", "model.width=0.25", "model.backbone=small",
    "model.weights=none", "model.start=none", "model.embedding=16", "teacher.iterations=4", "teacher.batch_size=8",
    "schedule.iterations=4", "schedule.batch_size=4", "schedule.ramp_start=0", "toy.identities=6",
    "toy.images_per_identity=4", "checkpoint.every=2", "checkpoint.preview=100", "checkpoint.log=1",
)  # fmt: skip


def check(record: Record, device: torch.device, work: Path) -> None:
    """All lines of the step."""
    for learns in (True, False):
        name = "encoder learns" if learns else "encoder frozen"
        record.measure(STEP, f"GPU against CPU, {name}", lambda learns=learns: against_cpu(device, learns), needs=30)
    record.measure(STEP, "dgaug against restated, on the GPU", lambda: against_restated(device), needs=20)
    for setting in (False, True):
        name = f"resumed against uninterrupted, behaviour.deterministic={str(setting).lower()}"
        record.measure(STEP, name, lambda setting=setting: resumed(device, work, deterministic=setting), needs=40)


def against_cpu(device: torch.device, encoder_learns: bool) -> Values:
    """Largest relative difference of a term, and the distance of gradients relative to their length, by network."""
    settings = settings_of("fp32", CHECK_SIZE, CHECK_BATCH, *STILL, f"loss.structure_branch={float(encoder_learns)}")
    with exact_products():
        expected, theirs = iteration(settings, torch.device("cpu"))
        result, ours = iteration(settings, device)
    values: Values = {
        "terms": len(expected),
        "largest term difference": max(abs(result[name] - expected[name]) / abs(expected[name]) for name in expected),
    }
    for name, gradient in theirs.items():
        values[f"gradient, {name}"] = float((ours[name] - gradient).norm() / gradient.norm())
    return values


def iteration(settings: Settings, device: torch.device) -> tuple[dict[str, float], dict[str, Tensor]]:
    """The terms of one iteration and the gradients of each trained network, on the CPU."""
    networks = make_networks(settings, teacher_dropout=0).to(device)
    model = DGNet(networks, settings, Processes(device))
    terms = model.step([make_batch(CHECK_SIZE, CHECK_BATCH, device)], AFTER_RAMPS)
    trained = {name: networks.saved()[name] for name in ("generator", "appearance", "discriminator")}
    gradients = {
        name: torch.cat([p.grad.flatten().double().cpu() for p in network.parameters() if p.grad is not None])
        for name, network in trained.items()
    }
    return dict(terms), gradients


def against_restated(device: torch.device) -> Values:
    """Terms of the published form restated that differ by more than its tolerance, computed on the device."""
    apart = differing_terms(device)
    return {"terms apart": len(apart), "which": "; ".join(apart) or "none"}


def resumed(device: torch.device, work: Path, *, deterministic: bool) -> Values:
    """Four iterations against two, a stop, and two more: how many tensors differ, and the largest difference."""
    whole, cut = work / f"whole-{deterministic}", work / f"cut-{deterministic}"
    chosen = [*TINY, f"behaviour.deterministic={str(deterministic).lower()}"]
    dgaug.train(config="toy", overrides=chosen, out=whole, force=True, device=str(device))
    shutil.rmtree(cut, ignore_errors=True)
    shutil.copytree(whole, cut)
    shutil.copyfile(cut / "checkpoints/00000002.pt", cut / "checkpoints/last.pt")
    dgaug.train(out=cut, resume=True, device=str(device))
    one, other = (
        torch.load(run / "checkpoints/last.pt", map_location="cpu", weights_only=True)["networks"]
        for run in (whole, cut)
    )
    differences = [
        float((value.double() - other[network][name].double()).abs().max())
        for network, state in one.items()
        for name, value in state.items()
    ]
    return {
        "tensors": len(differences),
        "tensors that differ": sum(difference > 0 for difference in differences),
        "largest difference": max(differences),
    }
