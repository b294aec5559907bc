"""The page of the benchmarks says what the results say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def performance_page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("performance_page", ROOT / "benchmarks" / "performance_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_results_that_lie_there(performance_page: ModuleType) -> None:
    made = performance_page.page(performance_page.claims("cpu"))
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == made, "run benchmarks/performance_page.py"


def test_rates_and_times_are_compared_the_right_way_round(performance_page: ModuleType) -> None:
    assert performance_page.Claim("", "", 10.0, 40.0, "images/s").times == 4
    assert performance_page.Claim("", "", 10.0, 40.0, "s").times == 0.25
