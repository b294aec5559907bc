"""`dgaug demo`: one line for each stage, the report page, and what to do next."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from dgaug_cli.demo import ITERATIONS, _pairs, _shorter
from tiny_run import TINY, RunCommand

from dgaug.runs import Run


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
    assert sum("(market1501): 8 images of 4 identities" in line for line in lines) == 1, "not again at each stage"
    assert f"report page: {out / 'report.html'}" in lines
    assert (out / "report.html").stat().st_size > 10_000
    assert [line.split()[1] for line in lines[-3:]] == ["data", "train", "synthesize"]
    assert "re-identification" in ended.out


def test_a_demo_is_shorter_than_the_preset_unless_it_has_begun_or_starts_from_nothing(
    tmp_path: Path, tiny_run: Run
) -> None:
    new = Run(tmp_path / "demo")
    assert _shorter(new, from_scratch=False, force=False) == [f"schedule.iterations={ITERATIONS}"]
    assert _shorter(new, from_scratch=True, force=False) == []
    assert _shorter(tiny_run, from_scratch=False, force=False) == ["schedule.iterations=8"]
    assert _shorter(tiny_run, from_scratch=False, force=True) == [f"schedule.iterations={ITERATIONS}"]
    assert _pairs(tiny_run) == "all", "the store of an earlier demo"


def test_a_demo_takes_the_images_that_a_limit_leaves(tiny_run: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "demo")
    shutil.copytree(tiny_run.folder, run.folder, ignore=shutil.ignore_patterns("store"))
    assert _pairs(run) == "grid:24x24"
    run.config.write_text(run.config.read_text().replace("limit_identities: null", "limit_identities: 3"))
    assert _pairs(run) == "grid:12x12"
