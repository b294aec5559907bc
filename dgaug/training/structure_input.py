"""What the structure encoder sees of an image in training: a grey that clothing cannot be read from.

Synthesis shows it the plain mean of the channels. In training the grey of every image may be sampled anew (method:
structure input), so that neither brightness nor print tells what is worn. The decoder then has to take both from the
appearance code, as it must where the two codes come from different people.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from dgaug.models.structure_encoder import grey
from dgaug.settings import StructureInputSettings
from dgaug.transfer import upload

CHANNELS = 3
HEIGHTS, WIDTHS, PERIODS = (0.15, 0.6), (0.3, 0.9), (3 / 64, 10 / 64)
"""Of a print: its height and the period of its stripes relative to the image's height, its width to the width."""
KINDS = 3
"""Stripes across, stripes along, checks."""
MIDDLE, HALF_WIDTH, EDGE = (0.42, 0.58), (0.26, 0.42), 0.12
"""Of the middle columns, relative to the width: where their centre lies, half their width, how soft they end."""
PRINT_NUMBERS, REGION_NUMBERS = 10, 2


def sample_numbers(count: int, settings: StructureInputSettings, rng: np.random.Generator) -> Tensor:
    """The random numbers of `count` images, float32 [count, ...], for `structure_input`."""
    rows = [_numbers(settings, rng) for _ in range(count)]
    return torch.from_numpy(np.asarray(rows, dtype=np.float32).reshape(count, sum(_lengths(settings))))


def structure_input(images: Tensor, numbers: Tensor, settings: StructureInputSettings) -> Tensor:
    """Grey [B, 1, H, W] of normalised images [B, 3, H, W] by random numbers [B, ...] of `sample_numbers`."""
    if not numbers.shape[1]:
        return grey(images)
    uploaded = upload(numbers, images.device).to(images.dtype)
    weights, prints, region = torch.split(uploaded, _lengths(settings), dim=1)
    maps = (images * weights[:, :, None, None]).sum(dim=1, keepdim=True) if weights.shape[1] else grey(images)
    if settings.print:
        maps = maps + _print(prints, maps)
    if settings.region == "middle":
        maps = torch.lerp(grey(images), maps, _middle(region, maps))
    return maps


def _lengths(settings: StructureInputSettings) -> list[int]:
    """How many numbers the weights, a print and the region take."""
    return [
        CHANNELS if settings.mixing == "random" else 0,
        PRINT_NUMBERS if settings.print else 0,
        REGION_NUMBERS if settings.region == "middle" else 0,
    ]


def _numbers(settings: StructureInputSettings, rng: np.random.Generator) -> list[float]:
    weights, prints, region = _lengths(settings)
    numbers: list[float] = []
    if weights:
        direction = rng.standard_normal(CHANNELS)
        numbers += (direction / np.linalg.norm(direction) / math.sqrt(CHANNELS)).tolist()
    if prints:
        numbers += _print_numbers(settings.print, rng)
    if region:
        numbers += [rng.uniform(*MIDDLE), rng.uniform(*HALF_WIDTH)]
    return numbers


def _print_numbers(probability: float, rng: np.random.Generator) -> list[float]:
    """Contrast (0: no print), top, left, height, width, kind, periods and phases down and right."""
    contrast = rng.uniform(-1, 1) * (rng.random() < probability)
    height, width = rng.uniform(*HEIGHTS), rng.uniform(*WIDTHS)
    top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
    kind = float(rng.integers(KINDS))
    return [contrast, top, left, height, width, kind, *rng.uniform(*PERIODS, 2), *rng.uniform(0, 2 * math.pi, 2)]


def _print(numbers: Tensor, maps: Tensor) -> Tensor:
    """What is printed on [B, 1, H, W]: stripes or checks in one rectangle."""
    columns = numbers[:, :, None, None, None].unbind(1)
    contrast, top, left, tall, wide, kind, period_down, period_right, phase_down, phase_right = columns
    height, width = maps.shape[2:]
    down, right = _places(height, maps)[:, None], _places(width, maps)[None, :]
    inside = (down >= top) & (down < top + tall) & (right >= left) & (right < left + wide)
    across = torch.sign(torch.sin(2 * math.pi * down / period_down + phase_down))
    along = torch.sign(torch.sin(2 * math.pi * right * (width / height) / period_right + phase_right))
    stripes = torch.where(kind == 0, across, torch.where(kind == 1, along, (across + along) / 2))
    return contrast * inside * stripes


def _middle(numbers: Tensor, maps: Tensor) -> Tensor:
    """How much of each column belongs to the middle [B, 1, 1, W]."""
    centre, half = numbers[:, :, None, None, None].unbind(1)
    return torch.sigmoid((half - (_places(maps.shape[3], maps) - centre).abs()) / EDGE)


def _places(length: int, like: Tensor) -> Tensor:
    """Centres of pixels along an axis of length 1."""
    return (torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) / length
