"""A re-id network from elsewhere: any module, traced once, that then answers like ours."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgaug.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from dgaug.errors import DgaugError
from dgaug.models.reid import AnyReidNetwork, ReidOutput

_jit: Any = torch.jit  # without types
Run = Callable[[Tensor], Sequence[Tensor]]
TOLERANCE = 1e-4
"""Of `difference_of`."""
TRACED = "traced"
"""In the place of a backbone, what says that a checkpoint holds a program instead of tensors by name."""
TRUST = "DGAUG_TRUSTED_PROGRAMS"
"""Environment variable: starts of the sha256 of programs that may run, separated by commas. Processes inherit it."""
DIGITS = 32
"""Of a sha256, at least so many say which program is meant."""


class TracedNetwork(AnyReidNetwork):
    """A TorchScript program, from images [B, 3, H, W], RGB in 0..1, to class scores [B, C] and features [B, D].

    It computes what it computed when it was traced: training mode changes nothing in it.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, program: Any, *, classes: int, feature_length: int) -> None:
        super().__init__()
        self.program = program
        self.classes = classes
        self.feature_length = feature_length
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TracedNetwork:
        """Move or convert everything; a program goes to another device with the devices that were traced into it."""
        device = fn(self.mean).device
        if device != self.mean.device:
            self.program = program_on(self.program, device)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, images: Tensor) -> ReidOutput:
        """What it says of normalised images [B, 3, H, W]; it has no appearance codes, [B, 0]."""
        # What it optimises while it runs would make the first answers differ from later ones.
        with _jit.optimized_execution(False):
            logits, embedding = self.program((images * self.deviation + self.mean).clamp(0, 1))
        return ReidOutput((logits,), (embedding,), logits.new_empty(len(logits), 0))


def trace(network: nn.Module, example: Tensor) -> Any:
    """The TorchScript program of a module that takes images like `example`."""
    with _quiet(), torch.no_grad():
        return _jit.trace(network, example, check_trace=False)


def example_images(image_size: tuple[int, int]) -> Tensor:
    """Three images of noise: another form of a network is made with the first two, and compared on all and on one.

    A batch size that was built in would show.
    """
    return torch.rand(3, 3, *image_size, generator=torch.Generator().manual_seed(0))


def difference_of(run: Run, images: Tensor, expected: Sequence[Tensor]) -> float:
    """How far another form of a network is from the outputs `expected` of `example_images`; NaN where it gives one.

    The largest difference of a number, relative to the largest number of that output where this is above 1.
    """
    differences = []
    for some in (images, images[:1]):
        for mine, theirs in zip(run(some), expected, strict=True):
            differences.append((mine - theirs[: len(some)]).abs().max() / theirs.abs().max().clamp(min=1))
    return float(torch.stack(differences).max())


def save_program(program: Any, to: str | io.BytesIO, *, files: Mapping[str, str] | None = None) -> None:
    """Write a program as a TorchScript archive, with further texts by name."""
    with _quiet():
        _jit.save(program, to, _extra_files=dict(files or {}))


def read_program(source: str | io.BytesIO, device: str | torch.device = "cpu") -> Any:
    """Read a program for a device."""
    with _quiet():
        return _jit.load(source, map_location=device)


def program_on(program: Any, device: torch.device) -> Any:
    """The same program for another device.

    Tracing writes down the device of every tensor that a network makes while it runs, and of its constants; moving the
    parameters leaves both where they were.
    """
    for module in program.modules():
        for node in module.graph.findAllNodes("prim::Constant", recurse=True) if hasattr(module, "graph") else ():
            if node.output().type().kind() == "DeviceObjType":
                node.s_("value", str(device))
    stream = io.BytesIO()
    save_program(program, stream)
    stream.seek(0)
    return read_program(stream, device)


def program_tensor(program: Any) -> Tensor:
    """A program as the bytes of its archive, uint8 [n]."""
    stream = io.BytesIO()
    save_program(program, stream)
    return torch.frombuffer(bytearray(stream.getvalue()), dtype=torch.uint8)


def read_traced(architecture: Mapping[str, Any], state: Mapping[str, Tensor], *, source: Path) -> TracedNetwork:
    """The network of a checkpoint whose backbone is `TRACED`; ValueError where its program cannot be read.

    Raises:
        DgaugError: the program is not among those that the person at the keyboard trusts.
    """
    archive = state["program"].numpy().tobytes()
    digest = _digest(archive)
    if not any(len(start) >= DIGITS and digest.startswith(start) for start in _trusted()):
        raise DgaugError(
            f"{source} holds a program (a network imported from elsewhere), and nobody here said that it may run; if "
            f"you trust who made it: {TRUST}={digest[:DIGITS]}"
        )
    try:
        program = read_program(io.BytesIO(archive))
    except RuntimeError as error:
        raise ValueError(f"its program cannot be read: {str(error).splitlines()[0]}") from error
    return TracedNetwork(program, classes=architecture["classes"], feature_length=architecture["feature_length"])


def trust(program: Tensor) -> str:
    """Let a program run, given as `program_tensor`, in this process and those it starts; what to say in others."""
    start = _digest(program.numpy().tobytes())[:DIGITS]
    os.environ[TRUST] = ",".join(dict.fromkeys([*_trusted(), start]))
    return f"{TRUST}={start}"


def _trusted() -> list[str]:
    return [start for start in os.environ.get(TRUST, "").lower().replace(" ", "").split(",") if start]


def _digest(archive: bytes) -> str:
    return hashlib.sha256(archive).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings: torch calls TorchScript deprecated, and still writes, reads and runs it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
