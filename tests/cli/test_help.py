"""Every command explains itself, quickly."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from dgaug_cli.main import cli
from tiny_run import RunCommand


def paths_of(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command below a group, groups included."""
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from paths_of(command, (*path, name))


PATHS = list(paths_of(cli))


def test_all_commands_are_there() -> None:
    names = {path[0] for path in PATHS}
    assert names >= {"demo", "data", "train", "synthesize", "score-fid", "train-reid", "eval-reid", "verify", "config"}
    assert {("data", "check"), ("data", "toy"), ("data", "pack"), ("config", "list"), ("config", "show")} <= set(PATHS)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_has_an_example_that_names_the_command(path: tuple[str, ...], dgaug: RunCommand) -> None:
    ended = dgaug(*path, "--help")
    assert ended.code == 0
    assert ended.err == ""
    _, _, after = ended.out.partition("Example")
    assert after
    assert f"dgaug {' '.join(path)}" in after


@pytest.mark.parametrize("path", [(), ("data",), ("config",)], ids=lambda path: " ".join(path) or "dgaug")
def test_a_group_alone_shows_its_help_as_it_is(path: tuple[str, ...], dgaug: RunCommand) -> None:
    ended = dgaug(*path)
    assert ended.code == 0
    assert ended.err == ""
    assert ended.out == dgaug(*path, "-h").out
    assert len(ended.out.splitlines()) > 8


def test_commands_are_listed_in_sections_in_the_order_they_are_used(dgaug: RunCommand) -> None:
    text = dgaug("--help").out
    sections = re.findall(r"^([A-Z][\w ]+):\n((?:  .+\n?)+)", text[text.index("Options:") :], re.MULTILINE)
    listed = {title: re.findall(r"^  (\S+)", lines, re.MULTILINE) for title, lines in sections}
    assert list(listed) == ["Options", "Main job", "Look and measure", "Data and exchange", "Help"]
    assert listed["Main job"] == ["demo", "train", "synthesize", "score-fid", "train-reid"]
    del listed["Options"]
    assert sorted(name for names in listed.values() for name in names) == sorted(cli.commands), (
        "a command is missing or listed twice"
    )


@pytest.mark.parametrize("group", [cli, cli.commands["data"], cli.commands["config"]], ids=lambda group: group.name)
def test_no_summary_is_cut_or_wrapped(group: click.Group) -> None:
    text = group.get_help(click.Context(group, info_name="dgaug", max_content_width=80, terminal_width=80))
    for name, command in group.commands.items():
        summary = command.get_short_help_str(1000)
        assert len(summary) <= 60, summary
        assert re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE), summary


def test_the_first_screen_shows_the_four_commands_of_the_main_job(dgaug: RunCommand) -> None:
    output = dgaug("--help").out
    places = [output.index(f"dgaug {command}") for command in ("train", "synthesize", "score-fid", "train-reid")]
    assert places == sorted(places)


def test_the_version_is_that_of_the_package(dgaug: RunCommand) -> None:
    from importlib.metadata import version

    assert version("dgaug") in dgaug("--version").out


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["config", "list"]])
def test_help_and_presets_come_without_loading_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from dgaug_cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'torch', 'timm', 'h5py', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert process.stderr.strip() == "[]"
    assert process.stdout
