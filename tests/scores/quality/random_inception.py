"""Seeded random weights in the form of pytorch-fid's file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.models.inception import Inception3

from dgaug.scores.quality.encoders import INCEPTION_FILE


def random_inception(classes: int = 1008) -> dict[str, Tensor]:
    """A state dictionary, scaled so that differences between images survive the depth."""
    network = Inception3(classes, aux_logits=False, init_weights=False)
    generator = torch.Generator().manual_seed(1)
    state: dict[str, Tensor] = network.state_dict()
    for name, tensor in state.items():
        if tensor.ndim == 4:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith("running_mean"):
            tensor.normal_(0, 0.1, generator=generator)
    return state


def put_in_hub_cache(torch_home: Path) -> Path:
    """Write the weights where pytorch-fid looks for them, and once more under a name that stands for no checksum."""
    weights = torch_home / "inception.pth"
    cached = torch_home / "hub" / "checkpoints" / INCEPTION_FILE
    cached.parent.mkdir(parents=True)
    torch.save(random_inception(), weights)
    cached.symlink_to(weights)
    return weights
