"""`--quiet`, the same for every command."""

from __future__ import annotations

import click
from dgaug_cli.console import NOTES


def with_quiet(command: click.Command) -> click.Command:
    """The command, or each command of a group, with `--quiet`."""
    if isinstance(command, click.Group):
        for each in command.commands.values():
            with_quiet(each)
    else:
        command.params.append(
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_set,
                help="Only results and errors: no progress, no notes.",
            )
        )
    return command


def _set(_context: click.Context, _option: click.Parameter, quiet: bool) -> None:
    NOTES.quiet = NOTES.quiet or quiet
