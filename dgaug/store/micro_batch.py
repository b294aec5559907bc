"""How many images are computed at a time: a store records it, because its bytes depend on it."""

from __future__ import annotations

import torch

ON_CPU = 8
"""Few on a CPU, where each thread has a batch of its own in memory."""
_LEAST, _SMALL, _LARGE = 32, 128, 512
# As many as 256 images of 256 x 128 have, for which the kernels of a batch take longer than their launches.
_PIXELS = 256 * 256 * 128
_BYTES_PER_PIXEL = 1024
"""What decoder and teacher hold at a time, in fp32 and at full width: 34 MB for an image of 256 x 128."""
_SHARE = 0.25
"""Of a GPU's memory, what they may take."""


def default_micro_batch(device: torch.device, image_size: tuple[int, int]) -> int:
    """Images [H, W] at a time on a device.

    On CUDA a power of two from 128 to 512, about 8 million pixels, and fewer (at least 32) where those need more than a
    quarter of the memory. It depends on the GPU's model, not on what else is in its memory: two of a kind choose alike.
    """
    if device.type != "cuda":
        return ON_CPU
    pixels = image_size[0] * image_size[1]
    count = _SMALL
    while 2 * count <= _LARGE and 2 * count * pixels <= _PIXELS:
        count *= 2
    memory = torch.cuda.get_device_properties(device).total_memory
    while count > _LEAST and count * pixels * _BYTES_PER_PIXEL > _SHARE * memory:
        count //= 2
    return count


def micro_batch_on(device: torch.device, recorded: int) -> int:
    """What a device computes at a time of a store that recorded a number: a CPU has no memory for that of a GPU."""
    return recorded if device.type == "cuda" else min(recorded, ON_CPU)


def on_demand(device: torch.device, recorded: int, *, asked: int, image_size: tuple[int, int]) -> int:
    """What a reader computes at a time when `asked` for some images.

    On a CPU what the store recorded; on CUDA all of them in one batch, a multiple of that, as far as there is memory.
    """
    if device.type != "cuda":
        return micro_batch_on(device, recorded)
    whole = -(-asked // recorded) * recorded
    return min(whole, max(recorded, default_micro_batch(device, image_size)))
