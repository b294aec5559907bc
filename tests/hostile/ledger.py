"""How often each fault was tried and how it ended: the table of the suite."""

from __future__ import annotations

import os
from collections import Counter, defaultdict

from hypothesis import HealthCheck, settings

FULL = os.environ.get("DGAUG_HOSTILE") == "full"
"""The whole suite (make test-hostile); otherwise its short form, a part of the normal tests."""

_TRIED: defaultdict[str, Counter[str]] = defaultdict(Counter)


def times(short: int, full: int) -> int:
    """How often a fault is tried."""
    return full if FULL else short


def trials(short: int, full: int) -> settings:
    """How a property is tried: the same examples every time in the short form."""
    return settings(
        max_examples=times(short, full),
        deadline=None,
        derandomize=not FULL,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def way(code: int) -> str:
    """How a command ended, in a word."""
    return ("taken", "damage found", "refused")[code]


def tried(fault: str, outcome: str, count: int = 1) -> None:
    """A fault was tried and ended so; the test has seen that this is an outcome that may be."""
    _TRIED[fault][outcome] += count


def recorded() -> dict[str, dict[str, int]]:
    """What was tried in this process."""
    return {fault: dict(outcomes) for fault, outcomes in _TRIED.items()}


def add(others: dict[str, dict[str, int]]) -> None:
    """Count what was tried in another process of the suite."""
    for fault, outcomes in others.items():
        _TRIED[fault].update(outcomes)


def table() -> str:
    """The faults so far, how often each was tried and its outcomes, as a page of Markdown."""
    lines = [
        "# Faults, times tried, outcomes",
        "",
        "Written by `make test-hostile`; see [reliability](reliability.md).",
        "",
    ]
    lines += ["| fault | times tried | outcome |", "|---|---:|---|"]
    for fault in sorted(_TRIED):
        outcomes = _TRIED[fault]
        output = ", ".join(f"{outcome} {count:,}" for outcome, count in outcomes.most_common())
        if outcomes.total() == 1:
            output = next(iter(outcomes))
        lines.append(f"| {fault} | {outcomes.total():,} | {output} |")
    return "\n".join(lines) + "\n"
