from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from bounds import require_plain, within
from ledger import FULL, add, recorded, table
from tiny_run import Ended, RunCommand


@pytest.fixture
def refused_or_done(dgaug: RunCommand) -> RunCommand:
    """Run a command in this process: it must end in time, with 0, 1 or 2, and say what it says in plain lines."""

    def run(*arguments: str | Path) -> Ended:
        with within():
            ended = dgaug(*arguments)
        require_plain(ended)
        return ended

    return run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of `pytest -n` hands over what it tried."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tried"] = recorded()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add what another process tried."""
    add(getattr(node, "workeroutput", {}).get("tried", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the table of the suite, and keep it where it is asked for."""
    if not FULL:
        return
    terminalreporter.write(table())
    if path := os.environ.get("DGAUG_HOSTILE_TABLE"):
        Path(path).write_text(table(), encoding="utf-8")
