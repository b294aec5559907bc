"""`dgaug demo`: one line for each stage, the report page, and what to do next."""

from __future__ import annotations

import re
from pathlib import Path

from tiny_run import TINY, RunCommand


def test_the_demo_says_each_stage_once_and_ends_with_the_page_and_three_commands(
    tmp_path: Path, dgaug: RunCommand
) -> None:
    sections = {name: values for name, values in TINY.items() if isinstance(values, dict)}
    settings = [f"{section}.{name}={value}" for section, values in sections.items() for name, value in values.items()]
    settings += [
        "toy.identities=4",
        "toy.images_per_identity=2",
        "model.start=none",
        "schedule.iterations=2",
        "reid.iterations=2",
        "checkpoint.every=9",
    ]
    out = tmp_path / "demo"
    ended = dgaug("demo", "--out", out, *(word for text in settings for word in ("--set", text)))
    assert ended.code == 0, ended.err
    lines = ended.err.splitlines()
    stages = [line.split(" in ")[0] for line in lines if re.search(r" in \d+ s: ", line)]
    assert stages == ["trained", "synthesized", "scored", "compared"]
    assert not [line for line in lines if re.search(r": \d+/\d+", line)], "no progress lines without a terminal"
    assert f"report page: {out / 'report.html'}" in lines
    assert (out / "report.html").stat().st_size > 10_000
    assert [line.split()[1] for line in lines[-3:]] == ["data", "train", "synthesize"]
    assert "re-identification" in ended.out
