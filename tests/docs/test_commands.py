"""Every command line of README and docs: run on the embedded data at tiny settings, or at least read by the command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import scene
from dgaug_cli.main import cli
from doc_pages import PAGES, ROOT, Block, blocks, spans
from tiny_run import RunCommand

from dgaug.runs import Run

ONLY_READ = {
    "dgaug study": "takes minutes; tests/studies/test_learning_curve.py has one",
    "--inception-weights download": "needs the network",
    "--engine ray": "needs a cluster; tests/synthesis/test_ray_engine.py has one",
    "/shared/": "needs several machines; tests/synthesis runs torchrun",
    "real.npz": "needs the FID Inception weights",
    "dgaug import": "needs published checkpoints; tests/cli/test_import_command.py writes some",
    "--run market": "needs published checkpoints",
    "market/checkpoints": "needs published checkpoints",
    "stride2/": "needs published checkpoints",
    "HOST:": "needs several machines; tests/training/test_distributed.py runs torchrun",
}
"""What a command must not hold to be run here, and why."""
ALTERNATIVES = ("dgaug train-reid --feed online", "dgaug export market/last.pt")
"""Blocks with these lines name several ways; each line starts from the same scene."""
BLOCKS = list({tuple(block.commands): block for page in PAGES for block in blocks(page) if block.commands}.values())
"""Those with the same commands once."""


def paths_of(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from paths_of(command, (*path, name))
        else:
            yield (*path, name), command


def read_by_the_command(line: str, *, whole: bool = True) -> None:
    """Let the command read its arguments without doing anything; where not `whole`, required ones may be left out."""
    context = click.Context(cli, info_name="dgaug")
    words, command = shlex.split(line)[1:], cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        _, command, words = command.resolve_command(context, words)
        assert command is not None
    try:
        command.make_context(line, words)
    except click.exceptions.Exit:
        pass
    except click.MissingParameter:
        assert not whole, line


def why_only_read(line: str) -> str | None:
    """Why a line is not run here; None for one that is."""
    return next((why for what, why in ONLY_READ.items() if what in line), None)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_commands_of_a_block_run_one_after_another(
    block: Block, smaller_run: Run, dgaug: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [scene.with_placeholders(line) for line in block.commands]
    for line in lines:
        read_by_the_command(line)
    alone = any(what in line for what in ALTERNATIVES for line in lines)
    for number, line in enumerate(lines):
        if why_only_read(line):
            continue
        if alone or not (tmp_path / "0").exists():
            monkeypatch.chdir(scene.build(tmp_path / str(number if alone else 0), smaller_run, "\n".join(lines)))
        ended = dgaug(*scene.tiny(shlex.split(line)[1:]))
        assert ended.code == 0, f"{block}: {line}\n{ended.err}"


def test_most_command_lines_are_run() -> None:
    lines = [scene.with_placeholders(line) for block in BLOCKS for line in block.commands]
    assert len([line for line in lines if why_only_read(line) is None]) > 50
    unused = [what for what in ONLY_READ if not any(what in line for line in lines)]
    assert unused == [], "no such line is left; take the reason out"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_within_the_text_are_read_by_the_command(page: Path) -> None:
    for span in spans(page):
        read_by_the_command(scene.with_placeholders(span), whole=False)


@pytest.mark.parametrize(
    ("path", "command"), list(paths_of(cli)), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_the_examples_of_the_help_are_read_by_the_command(path: tuple[str, ...], command: click.Command) -> None:
    text = command.help or ""
    lines = re.findall(
        rf"^\s+(?:torchrun .*? -m (?:-- )?)?(dgaug {' '.join(path)}\b.*?)(?:\s{{3,}}.*|\)\"\s.*)?$", text, re.MULTILINE
    )
    assert lines
    for line in lines:
        read_by_the_command(re.sub(r"[|)].*", "", line) if path == ("completion",) else line)


def test_every_option_that_a_page_names_exists() -> None:
    known = {
        option
        for _, command in paths_of(cli)
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    known |= {"--help", "--version"}
    for script in (ROOT / "benchmarks").rglob("*.py"):
        known |= set(re.findall(r'add_argument\("(--[\w-]+)"', script.read_text(encoding="utf-8")))
    for page in PAGES:
        for span in re.findall(r"`(--[a-z][\w-]*)", page.read_text(encoding="utf-8")):
            assert span in known, f"{page.relative_to(ROOT)}: {span}"
