"""Bring a network that was trained elsewhere: as a teacher, as a judge, or to be evaluated."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from dgaug.errors import DgaugError
from dgaug.models import checkpoints
from dgaug.models.torchscript import TOLERANCE, TRACED, difference_of, example_images, program_tensor, trace, trust
from dgaug.outputs import require_free
from dgaug.surroundings import as_found

_log = logging.getLogger("dgaug")


@as_found
def import_network(
    network: nn.Module,
    out: str | Path,
    *,
    class_names: Sequence[str],
    image_size: tuple[int, int],
    force: bool = False,
) -> Path:
    """Write any network that tells identities apart as a re-id checkpoint, for `--teacher`, `--judge` and `eval-reid`.

    The network takes images float32 [B, 3, H, W], RGB in 0..1, and returns class scores (before softmax) [B, C], or
    these and features [B, D]; without features its class scores are ranked. What else it wants is put in front of it:
    `nn.Sequential(transforms.Resize((256, 128)), transforms.Normalize(mean, std), network)`.

    It is traced on the CPU in eval mode (a copy of it is), so its Python code is not needed afterwards. The traced form
    is a program, which runs only where it is trusted: in this process and those it starts, and elsewhere where the
    environment variable `DGAUG_TRUSTED_PROGRAMS` names it (a note says how).

    Args:
        network: the network, in any mode and on any device.
        out: the new file.
        class_names: the identity of each class, in the network's order and as the data set writes them.
        image_size: [H, W] of the images that it is to see: those of the run that it teaches.
        force: write over a file.

    Raises:
        DgaugError: `out` exists, the answer is of another form, the names do not fit it, or the traced form does not
            give the same for other images; then no file is left.
    """
    path, names = Path(out), [str(name) for name in class_names]
    require_free(path, force=force)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DgaugError(f"expected each identity once in class_names, found {twice!r} {names.count(twice)} times")
    order = sorted(range(len(names)), key=names.__getitem__)
    answers = _Answers(copy.deepcopy(network), order).cpu().eval().requires_grad_(False)
    noise = example_images(image_size)
    answer = answers(noise)
    program = trace(answers, noise[:2])
    difference = difference_of(program, noise, answer)
    if not difference <= TOLERANCE:
        raise DgaugError(
            f"expected the traced network to give what the network gives, found a difference of {difference:.2g}: its "
            "answers depend on the batch, or on chance"
        )
    archive = program_tensor(program)
    content = {
        "format": checkpoints.REID,
        "version": checkpoints.VERSION,
        "architecture": {"backbone": TRACED, "classes": len(names), "feature_length": answer[1].shape[1]},
        "class_names": sorted(names),
        "image_size": list(image_size),
        "network": {"program": archive},
    }
    checkpoints.save(path, content)
    _log.info("%s: other processes run it with %s", path, trust(archive))
    return path


class _Answers(nn.Module):
    """A network's class scores in the order of sorted identities, and its features."""

    order: Tensor

    def __init__(self, network: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order", torch.tensor(order))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.network(images)
        parts = answer if isinstance(answer, (tuple, list)) else (answer, answer)
        shapes = [list(part.shape) if isinstance(part, Tensor) else type(part).__name__ for part in parts]
        batch, classes = images.shape[0], self.order.shape[0]
        if [shape[:-1] if isinstance(shape, list) else shape for shape in shapes] != [[batch], [batch]]:
            raise DgaugError(
                f"expected class scores [{batch}, {classes}], or these and features [{batch}, D], from the network for "
                f"{batch} images, found {', '.join(map(str, shapes))}; wrap it in a module that returns them"
            )
        if parts[0].shape[1] != classes:
            raise DgaugError(
                f"expected scores of the {classes} identities in class_names, found {parts[0].shape[1]} classes; name "
                "every class, in the network's order"
            )
        return parts[0][:, self.order].float(), parts[1].float()
