"""Weights in bfloat16 once, for networks that compute under autocast and do not learn."""

from __future__ import annotations

from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from dgaug.models.upsampling import UpsampledConv

Network = TypeVar("Network", bound=nn.Module)


def with_half_weights(network: Network) -> Network:
    """A copy whose convolutions and linear layers have the weights that autocast would make of theirs at each use.

    It computes the same bits under autocast, and only there. All other tensors are those of the network itself.
    """
    layers = _cast_layers(network)
    if not layers:
        return network
    tensors: dict[int, Tensor] = {id(one): one for one in (*network.parameters(), *network.buffers())}
    for layer in layers:
        for weight in layer.parameters():
            tensors[id(weight)] = nn.Parameter(weight.detach().to(torch.bfloat16), requires_grad=False)
    return deepcopy(network, dict(tensors))


def _cast_layers(network: nn.Module) -> list[nn.Module]:
    # An upsampled convolution adds up its taps in float32 first. A subclass may do as much.
    kept = {layer.conv for layer in network.modules() if isinstance(layer, UpsampledConv)}
    return [layer for layer in network.modules() if type(layer) in (nn.Conv2d, nn.Linear) and layer not in kept]
