"""Codes that live where pairs are decoded are the codes of the host, whatever was asked for before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_streams import fake_streams

from dgaug.errors import DgaugError
from dgaug.store.codes import Codes, Parts
from dgaug.store.resident_codes import ResidentCodes


@pytest.fixture
def codes() -> Codes:
    rng = np.random.default_rng(0)

    def table(*shape: int) -> Parts:
        return Parts([rng.standard_normal((rows, *shape)).astype(np.float16) for rows in (100, 50)])

    return Codes(rng.permutation(150) * 2, table(6, 4, 2), table(4, 2, 2, 6))


def test_they_are_the_codes_of_the_host(codes: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_streams(monkeypatch)
    resident, rng = ResidentCodes(codes, torch.device("cpu")), np.random.default_rng(1)
    for count in (3, 3, 200, 1):
        appearance, structure = (rng.integers(150, size=count).astype(np.int32) * 2 for _ in range(2))
        for mine, theirs in zip(resident.rows(appearance, structure), codes.rows(appearance, structure), strict=True):
            assert torch.equal(mine, theirs)


def test_a_source_without_codes_is_refused(codes: Codes, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_streams(monkeypatch)
    with pytest.raises(DgaugError, match="source has none"):
        ResidentCodes(codes, torch.device("cpu")).rows(np.array([3], np.int32), np.array([2], np.int32))
