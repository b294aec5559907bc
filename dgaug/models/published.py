"""The files of a published DG-Net training, and their tensors in our networks (method: checkpoints, teacher).

Each table maps one of our state-dict names to the published one, so that missing and extra tensors can be told
apart; the eight AdaIN MLPs of the published format are stacked into ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dgaug.errors import DgaugError
from dgaug.files import file_sha256
from dgaug.models.decoder import BLOCKS
from dgaug.models.discriminator import Discriminator
from dgaug.models.generator import Generator
from dgaug.models.reid import ReidNetwork
from dgaug.models.weights import read_checkpoint, read_tensors
from dgaug.plain_yaml import read_yaml

Table = dict[str, str]
Tensors = dict[str, Tensor]
TEACHER = Path("teacher") / "net_last.pth"
OPTIONS = "opts.yaml"
_PUBLISHED_STRIDE = 2
"""What the published code takes where the teacher's options leave the stride out."""
_NUMBERED = re.compile(r"gen_(\d+)\.pt")
MLPS = [f"mlp_{kind}{block}" for block in range(1, BLOCKS + 1) for kind in "wb"]
"""Published names of the AdaIN MLPs in our stacking order: scale and shift of each block."""

_MODULE = re.compile(r"(^|\.)module\.")
_KINDS = {
    "that no network reads": re.compile(r"dec\.model\.1\.model\.\d\.model\.[01]\.norm\.running_(mean|var)$"),
    "of the ImageNet classifier, which is never used": re.compile(r"model\.fc\."),
    "of layers inside the residual blocks that this architecture has not: the released Market model has non-local "
    "ones, and the published generation scripts drop them too": re.compile(
        r"(enc_content\.model\.4|dec\.model\.1|cnns\.\d\.[5-8])\."
    ),
}


@dataclass(frozen=True)
class PublishedFiles:
    """The files of one iteration; None where there is none."""

    iteration: int
    generator: Path
    appearance: Path
    discriminator: Path | None
    teacher: Path | None

    def sha256(self) -> dict[str, str]:
        """The sha256 of what each file holds, by its name."""
        files = (self.generator, self.appearance, self.discriminator, self.teacher)
        return {path.name: file_sha256(path) for path in files if path is not None}


def find_published(directory: Path, teacher: Path | None = None) -> PublishedFiles:
    """The files of the highest iteration that has a generator and an appearance encoder.

    Raises:
        DgaugError: there is none, or no such teacher.
    """
    if not directory.is_dir():
        raise DgaugError(f"{directory}: no such folder")
    if teacher is not None and not teacher.is_file():
        raise DgaugError(f"no such file: {teacher}; --teacher names a published teacher, such as {TEACHER.name}")
    if teacher is None and (directory / TEACHER).is_file():
        teacher = directory / TEACHER
    for folder in (directory, directory / "checkpoints"):
        matches = [_NUMBERED.fullmatch(path.name) for path in folder.glob("gen_*.pt")]
        for number in sorted((match[1] for match in matches if match), key=int, reverse=True):
            generator, appearance, discriminator = (folder / f"{part}_{number}.pt" for part in ("gen", "id", "dis"))
            if appearance.is_file():
                files = discriminator if discriminator.is_file() else None
                return PublishedFiles(int(number), generator, appearance, files, teacher)
    raise DgaugError(
        f"{directory} holds no gen_N.pt with an id_N.pt of the same number, neither itself nor in checkpoints/; "
        "give the folder that the published code wrote"
    )


def network_tensors(path: Path) -> Tensors:
    """What `gen_N.pt`, `id_N.pt` or `dis_N.pt` holds, under plain names.

    Raises:
        DgaugError: unreadable, or no such file.
    """
    return _plain_tensors(path, read_checkpoint(path).get("a"))


def teacher_tensors(path: Path) -> Tensors:
    """What a teacher's file holds, under plain names.

    Raises:
        DgaugError: unreadable, or no such file.
    """
    return _plain_tensors(path, read_tensors(path))


def _plain_tensors(path: Path, content: object) -> Tensors:
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise DgaugError(
            f"{path}: not a published DG-Net file (expected tensors by name, those of gen, id and dis under 'a')"
        )
    return plain_names(content)


def class_count(path: Path, tensors: Mapping[str, Tensor], head: str) -> int:
    """The number of identities that a head tells apart.

    Raises:
        DgaugError: it has no such head.
    """
    name = f"{head}.classifier.0.bias"
    if name not in tensors or tensors[name].ndim != 1:
        raise DgaugError(
            f"{path}: tensor {name!r} is {'misshapen' if name in tensors else 'missing'}; readable are two-head "
            "appearance encoders (ID_style AB) as id_N.pt, and one-head ResNet-50 teachers"
        )
    return len(tensors[name])


def options_stride(teacher: Path) -> int | None:
    """The last stride that `opts.yaml` beside a teacher says, or as published leaves open; None without that file.

    Raises:
        DgaugError: it cannot be read, or says something else than 1 or 2.
    """
    path = teacher.with_name(OPTIONS)
    if not path.is_file():
        return None
    try:
        content: Any = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DgaugError(f"cannot read {path}: {reason}; --teacher-stride does without it") from error
    stride = content.get("stride", _PUBLISHED_STRIDE) if isinstance(content, dict) else None
    if stride not in (1, 2):
        raise DgaugError(f"{path}: expected stride: 1 or 2, found {stride!r}; --teacher-stride does without it")
    return int(stride)


def _convolution(ours: str, theirs: str) -> Table:
    return {f"{ours}.conv.{leaf}": f"{theirs}.conv.{leaf}" for leaf in ("weight", "bias")}


def _residual(ours: str, theirs: str) -> Table:
    return _convolution(f"{ours}.first", f"{theirs}.model.0") | _convolution(f"{ours}.second", f"{theirs}.model.1")


def generator_table() -> Table:
    """Our names to published names for structure encoder and decoder (the MLPs are stacked apart)."""
    table: Table = {}
    encoder = "enc_content.model"
    for index in range(4):
        table |= _convolution(f"structure_encoder.stem.{index}", f"{encoder}.{index}")
        table |= _residual(f"structure_encoder.residual.{index}", f"{encoder}.4.model.{index}")
        table |= _residual(f"decoder.blocks.{index}", f"dec.model.1.model.{index}")
    table |= _convolution("structure_encoder.scales.plain", f"{encoder}.5.conv1")
    table |= _convolution("structure_encoder.scales.fuse", f"{encoder}.5.fuse")
    for index, branch in enumerate(("conv6", "conv12", "conv18")):
        table |= _convolution(f"structure_encoder.scales.reduce.{index}", f"{encoder}.5.{branch}.0")
        table |= _convolution(f"structure_encoder.scales.dilated.{index}", f"{encoder}.5.{branch}.1")
    for index, layer in enumerate((3, 5)):
        table |= _convolution(f"decoder.upsample.{index}", f"dec.model.{layer}")
        table |= {f"decoder.norms.{index}.{leaf}": f"dec.model.{layer}.norm.{leaf}" for leaf in ("gamma", "beta")}
    for index, layer in enumerate((6, 7)):
        table |= _convolution(f"decoder.refine.{index}", f"dec.model.{layer}")
    return table | _convolution("decoder.colour", "dec.model.8")


def discriminator_table() -> Table:
    """Our names to published names for the three discriminators."""
    table: Table = {}
    for scale in range(3):
        ours, theirs = f"scales.{scale}", f"cnns.{scale}"
        for index in range(5):
            table |= _convolution(f"{ours}.stem.{index}", f"{theirs}.{index}")
        for index in range(4):
            table |= _residual(f"{ours}.residual.{index}", f"{theirs}.{index + 5}")
        table |= {f"{ours}.score.{leaf}": f"{theirs}.9.{leaf}" for leaf in ("weight", "bias")}
    return table


def reid_table(network: ReidNetwork) -> Table:
    """Our names to published names for a one-head teacher or a two-head appearance encoder on ResNet-50."""
    heads = ["classifier"] if len(network.heads) == 1 else ["classifier1", "classifier2"]
    parts = {"reduce": "add_block.0", "norm": "add_block.1", "classify": "classifier.0"}
    table: Table = {}
    for name in network.state_dict():
        if name.startswith("backbone.network."):
            table[name] = name.replace("backbone.network.", "model.")
        else:
            _, index, part, leaf = name.split(".")
            table[name] = f"{heads[int(index)]}.{parts[part]}.{leaf}"
    return table


def plain_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without the `module.` that a run on several GPUs puts into names."""
    return {_MODULE.sub(r"\1", name): tensor for name, tensor in tensors.items()}


def load_generator(generator: Generator, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load published generator tensors; returns the names of tensors that this architecture does not have."""
    given, own = plain_names(tensors), generator.state_dict()
    stacked: dict[str, Tensor] = {}
    used: set[str] = set()
    for layer in range(3):
        names = [f"{mlp}.model.{layer}.fc" for mlp in MLPS]
        for leaf, ours in (("weight", f"adain.weights.{layer}"), ("bias", f"adain.biases.{layer}")):
            used |= {f"{name}.{leaf}" for name in names}
            shape = own[ours][0].T.shape if leaf == "weight" else own[ours][0, 0].shape
            parts = [_tensor(given, f"{name}.{leaf}", shape) for name in names]
            stacked[ours] = torch.stack([part.T if leaf == "weight" else part.unsqueeze(0) for part in parts])
    return _load(generator, generator_table(), given, stacked=stacked, used=used)


def load_discriminator(discriminator: Discriminator, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load published discriminator tensors; returns unused names."""
    return _load(discriminator, discriminator_table(), plain_names(tensors))


def load_reid(network: ReidNetwork, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load a published appearance encoder or teacher; returns unused names."""
    return _load(network, reid_table(network), plain_names(tensors))


def unused_kinds(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that a loader returned, by what the tensors are, in words."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kind = next((kind for kind, pattern in _KINDS.items() if pattern.match(name)), "unknown here")
        kinds.setdefault(kind, []).append(name)
    return kinds


def _tensor(tensors: Mapping[str, Tensor], name: str, shape: torch.Size) -> Tensor:
    if name not in tensors:
        raise DgaugError(f"not a published DG-Net file: tensor {name!r} is missing")
    actual = tensors[name].shape
    if actual != shape:
        raise DgaugError(
            f"published tensors do not fit: {name!r} has the shape {list(actual)}, the published network {list(shape)}"
        )
    return tensors[name]


def _load(
    network: nn.Module,
    table: Table,
    tensors: Mapping[str, Tensor],
    *,
    stacked: Mapping[str, Tensor] | None = None,
    used: set[str] | None = None,
) -> list[str]:
    state = network.state_dict() | dict(stacked or {})
    for ours, theirs in table.items():
        # Old torch versions did not write this counter, and no network reads it.
        if theirs in tensors or not theirs.endswith(".num_batches_tracked"):
            state[ours] = _tensor(tensors, theirs, state[ours].shape)
    network.load_state_dict(state)
    return sorted(set(tensors) - set(table.values()) - (used or set()))
