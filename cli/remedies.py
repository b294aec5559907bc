"""An error names its remedy as an option of the command that failed.

The library names what reads data as a flag (`--pattern ...`) or as a setting (`--set data.pattern=...`); commands have
one or the other.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection
from typing import Any

import click

from dgaug.errors import DgaugError

OF_DATA = ("cameras", "damaged", "layout", "pattern")


def with_remedies(command: click.Command) -> click.Command:
    """The command, or each command of a group, so that its errors name only options it has."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            with_remedies(one)
        return command
    options = {name for parameter in command.params for name in parameter.opts}
    run = command.callback
    if run is not None:
        command.callback = _fitting(run, options)
    return command


def _fitting(run: Callable[..., Any], options: Collection[str]) -> Callable[..., Any]:
    @functools.wraps(run)
    def fitted_run(*arguments: Any, **named: Any) -> Any:
        try:
            return run(*arguments, **named)
        except DgaugError as error:
            text = fitted(str(error), options)
            if text == str(error):
                raise
            raise DgaugError(text) from error

    return fitted_run


def fitted(text: str, options: Collection[str]) -> str:
    """An error text whose remedies name these options; a remedy without an option is removed."""
    for name in OF_DATA:
        flag, setting = f"--{name}", f"--set data.{name}="
        if flag in options:
            text = text.replace(setting, f"{flag} ")
        elif "--set" in options:
            text = re.sub(rf"{flag} (?=\S)", setting, text)
        else:
            text = re.sub(rf"(,|;)[^,;]*({re.escape(setting)}|{flag} )('[^']*'|[^,;])*", "", text)
    return text
