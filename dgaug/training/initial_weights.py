"""Where the networks of a run start: fresh, from the trained teacher, or from a pretrained generator."""

from __future__ import annotations

import logging
import sys
from importlib import resources
from pathlib import Path

from torch import nn

from dgaug.errors import DgaugError
from dgaug.files import whole
from dgaug.models import checkpoints
from dgaug.models.reid import Ensemble, ReidNetwork
from dgaug.models.weights import read_tensors
from dgaug.settings import Settings
from dgaug.training.networks import Networks

SHIPPED = "toy.safetensors"
_log = logging.getLogger("dgaug")
_PARTS = ("generator", "appearance", "discriminator")
_HEADS = "heads."
"""Of the appearance encoder: they tell the identities of one run, and start afresh in every other."""


def start_from(networks: Networks, settings: Settings) -> None:
    """Fill fresh networks as `settings.model.start` and `settings.behaviour.appearance_start` say.

    Raises:
        DgaugError: a file that is missing or does not fit these networks.
    """
    path = pretrained_path(settings.model.start)
    if path is not None:
        _load_pretrained(networks, path)
    elif settings.behaviour.appearance_start == "teacher" and networks.teacher is not None:
        teacher = networks.teacher.members[0] if isinstance(networks.teacher, Ensemble) else networks.teacher
        ours = networks.appearance.backbone.state_dict()
        theirs = teacher.backbone.state_dict() if isinstance(teacher, ReidNetwork) else {}
        if {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}:
            networks.appearance.backbone.load_state_dict(theirs)
        else:
            _log.info("the teacher has another backbone: the appearance encoder starts from model.weights")


def pretrained_path(start: str) -> Path | None:
    """The file that `settings.model.start` means; None for a fresh start.

    Raises:
        DgaugError: there is no such file.
    """
    if start == "none":
        return None
    path = Path(str(resources.files("dgaug_configs") / SHIPPED)) if start == "toy" else Path(start).expanduser()
    if not path.is_file():
        raise DgaugError(f"pretrained generator not found: {path}; use --from-scratch or --set model.start=none")
    return path


def _load_pretrained(networks: Networks, path: Path) -> None:
    tensors = read_tensors(path)
    for part in _PARTS:
        network: nn.Module = getattr(networks, part)
        own = network.state_dict()
        first = next(iter(own))
        given = tensors.get(f"{part}.{first}")
        if part == "discriminator" and (given is None or given.shape[1] != own[first].shape[1]):
            _log.info("%s has another kind of discriminator: ours starts from random weights", path)
            continue
        for name in own:
            if part == "appearance" and name.startswith(_HEADS):
                continue
            given = tensors.get(f"{part}.{name}")
            if given is None or given.shape != own[name].shape:
                raise DgaugError(
                    f"{path} does not fit these networks (tensor {part}.{name}); "
                    "use the preset it was made with, or --from-scratch"
                )
            own[name] = given.to(own[name].dtype)
        network.load_state_dict(own)
    networks.generator_ema.load_state_dict(networks.generator.state_dict())


def ship(run: Path, path: Path) -> None:
    """Write the pretrained generator file of a finished run: float16, the EMA generator's weights."""
    from safetensors.torch import save_file

    content = checkpoints.load(run / "checkpoints" / "last.pt", checkpoints.DGNET)
    networks = content["networks"] | {"generator": content["networks"]["averaged"]}
    tensors = {
        f"{part}.{name}": tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for part in _PARTS
        for name, tensor in networks[part].items()
        if not (part == "appearance" and name.startswith(_HEADS))
    }
    with whole(path) as aside:
        save_file(tensors, aside)


if __name__ == "__main__":
    ship(Path(sys.argv[1]), Path(sys.argv[2]))
