"""One iteration on this process's share of a fixed batch, alone or as one rank of several.

Batch norm is frozen and dropout off, so that only the sharing differs.
"""

from __future__ import annotations

from typing import Any

import torch
from tiny_run import tiny_settings
from torch import Tensor, nn

from dgaug.distributed import Processes
from dgaug.models.reid import ReidNetwork
from dgaug.settings import Settings
from dgaug.training.dgnet import DGNet
from dgaug.training.losses import Batch
from dgaug.training.networks import Networks, build_networks

CLASSES, SIDE = 4, 4
ITERATION = 7  # every ramp of the tiny schedule is at its end


def settings_of(accumulation: int) -> Settings:
    return tiny_settings(
        model={"prim_dropout": 0, "fine_dropout": 0},
        behaviour={"appearance_statistics": "frozen"},
        schedule={"batch_size": SIDE, "accumulation": accumulation},
        loss={"teacher_identity": 0.5, "teacher_feature": 1.0},
        structure_input={"mixing": "random", "print": 0.5, "region": "middle"},
    )


def networks_of(settings: Settings) -> Networks:
    torch.manual_seed(0)
    networks = build_networks(settings, CLASSES)
    networks.teacher = ReidNetwork("small", CLASSES, dropouts=(0.5,), pool="avg", embedding=16)
    for network in (networks.appearance, networks.teacher):
        for head in network.heads:
            nn.init.normal_(head.classify.weight)
    for parameter in networks.discriminator.parameters():
        if parameter.dim() > 1:  # at its own start it answers 0 and its gradients are near rounding
            nn.init.kaiming_normal_(parameter)
    return networks


def one_step(processes: Processes, accumulation: int) -> dict[str, Any]:
    settings = settings_of(accumulation)
    model = DGNet(networks_of(settings), settings, processes)
    images, positives = torch.randn(2, 2 * SIDE, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    whole = Batch(images, positives, torch.arange(2 * SIDE) % CLASSES)
    places = [model.share.rows(SIDE, turn) for turn in range(accumulation)]
    batches = [Batch(*(rows_of(rows, place) for rows in whole)) for place in places]
    terms = dict(model.step(batches, ITERATION))
    parts = {name: getattr(model.networks, name) for name in ("generator", "appearance", "discriminator")}
    gradients = {
        f"{part}.{name}": parameter.grad
        for part, network in parts.items()
        for name, parameter in network.named_parameters()
    }
    return {"terms": terms, "gradients": gradients}


def rows_of(rows: Tensor, place: range) -> Tensor:
    """The same places of both sides."""
    return torch.cat([side[place.start : place.stop] for side in rows.chunk(2)])


def save_one_step(out: str) -> None:
    """Write the terms and the gradients of every network, as the first rank has them."""
    everyone = Processes.here()
    result = one_step(everyone, 1)
    if everyone.is_rank_zero:
        torch.save(result, out)
    everyone.barrier()
