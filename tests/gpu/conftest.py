from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_cuda import fake_gpu
from fake_streams import Machine, fake_streams


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A GPU that is not there."""
    streams = fake_streams(monkeypatch)
    with fake_gpu(monkeypatch) as gpu:
        yield Machine(gpu, streams)
