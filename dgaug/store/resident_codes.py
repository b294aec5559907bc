"""The codes of a store on the GPU, where they fit: pairs are then gathered there, and no code is copied twice."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dgaug.store.codes import Codes, Rows
from dgaug.transfer import at_work, upload

SHARE = 0.5
"""Of the GPU memory that is free when they are opened, what the codes may take; the rest is for computing."""
_ROWS = 64
"""Sources copied at a time: 34 MB at 256 x 128."""


def codes_on(codes: Codes, device: torch.device) -> Codes | ResidentCodes:
    """The codes on a CUDA device where they take at most `SHARE` of its free memory; otherwise as they are."""
    if not at_work(device):
        return codes
    free, _ = torch.cuda.mem_get_info(device)
    return ResidentCodes(codes, device) if codes.bytes <= SHARE * free else codes


class ResidentCodes:
    """Codes on a device; each source's are copied there when a pair first names it. For one thread at a time."""

    def __init__(self, codes: Codes, device: torch.device) -> None:
        self._codes = codes
        self._device = device
        self._here = np.zeros(len(codes.sources), np.bool_)
        # Channels innermost: gathered rows have the layout of the decoder's convolutions.
        rows, channels, height, width = codes.structure.shape
        self._structure = torch.empty((rows, height, width, channels), dtype=torch.float16, device=device)
        self._adain = torch.empty(codes.adain.shape, dtype=torch.float16, device=device)
        self._filled = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def rows(self, appearance: Rows, structure: Rows) -> tuple[Tensor, Tensor]:
        """Structure codes [B, C, h, w] (channels last) and AdaIN parameters [B, 4, 2, 2, C] of pairs, on the device."""
        places = np.stack([self._codes.places(structure), self._codes.places(appearance)])
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._filled)
        new = np.unique(places[~self._here[places]])
        for start in range(0, len(new), _ROWS):
            self._fill(new[start : start + _ROWS])
        if len(new):
            self._filled.record(stream)
        chosen = upload(places, self._device)
        codes = self._structure.index_select(0, chosen[0]).permute(0, 3, 1, 2)
        return codes, self._adain.index_select(0, chosen[1])

    def _fill(self, places: NDArray[np.int64]) -> None:
        rows = upload(places, self._device)
        structure, adain = (
            upload(np.ascontiguousarray(table[places]), self._device)
            for table in (self._codes.structure, self._codes.adain)
        )
        self._structure.index_copy_(0, rows, structure.permute(0, 2, 3, 1))
        self._adain.index_copy_(0, rows, adain)
        self._here[places] = True
