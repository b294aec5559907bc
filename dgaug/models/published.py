"""Reading tensors named as in the published DG-Net file format (method: checkpoints).

Each table maps one of our state-dict names to the published one, so that missing and extra tensors can be told
apart; the eight AdaIN MLPs of the published format are stacked into ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dgaug.errors import DgaugError
from dgaug.models.decoder import BLOCKS
from dgaug.models.discriminator import Discriminator
from dgaug.models.generator import Generator
from dgaug.models.reid import ReidNetwork

Table = dict[str, str]
MLPS = [f"mlp_{kind}{block}" for block in range(1, BLOCKS + 1) for kind in "wb"]
"""Published names of the AdaIN MLPs in our stacking order: scale and shift of each block."""


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


def load_generator(generator: Generator, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load published generator tensors; returns the names of tensors that this architecture does not have."""
    stacked: dict[str, Tensor] = {}
    used: set[str] = set()
    for layer in range(3):
        names = [f"{mlp}.model.{layer}.fc" for mlp in MLPS]
        for leaf in ("weight", "bias"):
            used |= {f"{name}.{leaf}" for name in names}
        weights = [_tensor(tensors, f"{name}.weight") for name in names]
        biases = [_tensor(tensors, f"{name}.bias") for name in names]
        stacked[f"adain.weights.{layer}"] = torch.stack([weight.T for weight in weights])
        stacked[f"adain.biases.{layer}"] = torch.stack(biases).unsqueeze(1)
    return _load(generator, generator_table(), tensors, stacked=stacked, used=used)


def load_discriminator(discriminator: Discriminator, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load published discriminator tensors (a `module.` prefix is dropped); returns unused names."""
    plain = {name.replace("module.", ""): tensor for name, tensor in tensors.items()}
    return _load(discriminator, discriminator_table(), plain)


def load_reid(network: ReidNetwork, tensors: Mapping[str, Tensor]) -> list[str]:
    """Load a published appearance encoder or teacher; returns unused names."""
    return _load(network, reid_table(network), tensors)


def _tensor(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise DgaugError(f"not a published DG-Net file: tensor {name!r} is missing")
    return tensors[name]


def _load(
    network: nn.Module,
    table: Table,
    tensors: Mapping[str, Tensor],
    *,
    stacked: Mapping[str, Tensor] | None = None,
    used: set[str] | None = None,
) -> list[str]:
    state = {ours: _tensor(tensors, theirs) for ours, theirs in table.items()} | dict(stacked or {})
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DgaugError(f"published tensors do not fit: {str(error).splitlines()[-1].strip()}") from error
    return sorted(set(tensors) - set(table.values()) - (used or set()))
