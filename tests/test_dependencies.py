"""What an installation fetches is what the package imports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {"pillow": "PIL", "PyYAML": "yaml"}
"""Where the module has another name than the package."""
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
DEPENDENCIES = re.findall(r'^    "([\w-]+)>=', PROJECT.partition("\ndependencies = [")[2].partition("\n]")[0], re.M)


@pytest.mark.parametrize("package", DEPENDENCIES)
def test_a_run_time_dependency_is_imported_at_run_time(package: str) -> None:
    module = MODULES.get(package, package.replace("-", "_"))
    # torch's own module of that name needs tensorboard.
    imported = re.compile(rf"^\s*(from|import) (torch\.utils\.)?{module}\b", re.M)
    files = [path for part in ("dgaug", "cli") for path in (ROOT / part).rglob("*.py")]
    assert any(imported.search(path.read_text(encoding="utf-8")) for path in files)


def test_the_list_was_read() -> None:
    assert {"torch", "PyYAML", "pytorch-fid"} <= {*DEPENDENCIES}
