"""The benchmark compares two forms of the same work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
def test_the_restated_iteration_and_dgaug_compute_the_same_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import training_iteration

    assert training_iteration.differing_terms(torch.device("cpu")) == []
