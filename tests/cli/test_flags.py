"""No flag of an earlier version goes away or changes its type or default."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from dgaug_cli.main import cli

FLAGS: dict[str, list[object]] = json.loads(Path(__file__).with_name("flags.json").read_text(encoding="utf-8"))
"""Of each command: its arguments and options, each as `described` describes it."""


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command below a group that is no group, by its full name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def type_of(parameter: click.Parameter) -> str:
    """The type of a parameter as text, with its limits, its choices and the kind of path."""
    kind = parameter.type
    if isinstance(parameter, click.Option) and parameter.is_flag:
        text = "flag"
    elif isinstance(kind, click.Choice):
        text = "|".join(map(str, kind.choices))
    elif isinstance(kind, click.IntRange | click.FloatRange):
        text = f"{kind.name} {kind.min}..{kind.max}"
    elif isinstance(kind, click.Path):
        text = "path" if kind.dir_okay else "file"
    else:
        text = kind.name
    return text + (", repeated" if parameter.multiple else "") + (", required" if parameter.required else "")


def default_of(parameter: click.Parameter) -> object:
    """The default of a parameter as JSON holds it."""
    default = parameter.default
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return default is True
    return default if isinstance(default, bool | int | float | str) else None


def described(group: click.Group) -> dict[str, list[object]]:
    """Type and default of every argument and option of all commands, as `command --flag/--other`."""
    return {
        f"{name} {'/'.join((*parameter.opts, *parameter.secondary_opts))}": [type_of(parameter), default_of(parameter)]
        for name, command in commands(group)
        for parameter in command.params
    }


NOW = described(cli)


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_of_an_earlier_version_has_the_same_type_and_default(flag: str) -> None:
    assert flag in NOW, "removed or renamed"
    assert NOW[flag] == FLAGS[flag]


def declarations(file: Path) -> Iterator[tuple[str, str]]:
    """The flag and the text of every option that a file declares."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "click.option":
            yield ast.literal_eval(node.args[0]), ast.unparse(node)


def test_an_option_that_several_commands_share_is_declared_once() -> None:
    files = {file.name: list(declarations(file)) for file in Path(__file__).parents[2].glob("cli/*.py")}
    shared = [flag for flag, _ in files.pop("options.py")]
    assert {"--run", "--data", "--out", "--force", "--json"} <= set(shared)
    again = {(name, flag) for name, result in files.items() for flag, _ in result if flag in shared}
    assert again == {("data.py", "--images-per-identity"), ("data.py", "--cameras")}, "of `data toy`, which makes them"
    texts = Counter(text for result in files.values() for _, text in result)
    assert [text for text, count in texts.items() if count > 1] == []
