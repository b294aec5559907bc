"""What commands share: options, each declared once, and groups that list their commands in sections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from dgaug_cli.console import NOTES

Decorator = Callable[[Any], Any]

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
NOT_NEGATIVE = click.IntRange(min=0)
SUMMARY_WIDTH = 60
"""Columns for the summary of a command; beside the longest name it fits a terminal of 80."""

# Which run, data and settings.

run = click.option(
    "--run", default="latest", show_default=True, metavar="RUN", help="Run folder, run number, or latest."
)
examined_run = click.option(
    "--run", metavar="RUN", help="A run folder, number or latest: what is odd with it, and why."
)
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="section.name=value", help="Change a setting; repeatable."
)
pattern = click.option(
    "--pattern",
    metavar="REGEX",
    help="Regular expression for file names, e.g. '(?P<identity>[a-z]+)_cam(?P<camera>[0-9]+)'.",
)
layout = click.option(
    "--layout", default="auto", show_default=True, help="Layout of the data set, if it is not detected."
)
cameras = click.option(
    "--cameras", default="auto", show_default=True, metavar="POLICY", help="Camera labels: auto, none or required."
)
identities_fraction = click.option(
    "--identities-fraction", type=float, metavar="F", help="Use only this fraction of the training identities."
)
images_per_identity = click.option(
    "--images-per-identity", type=int, metavar="N", help="Use at most N training images per identity."
)
from_scratch = click.option(
    "--from-scratch", is_flag=True, help="Ignore the pretrained generator of the embedded data."
)


def data(text: str, *, required: bool = False) -> Decorator:
    """`--data DIR`."""
    return click.option("--data", type=PATH, required=required, help=text)


def config(text: str) -> Decorator:
    """`--config NAME|FILE`."""
    return click.option("--config", metavar="NAME|FILE", help=text)


def depth(default: str | None = "auto") -> Decorator:
    """`--depth`; without a default the setting holds."""
    return click.option(
        "--depth",
        type=click.Choice(["auto", "full"]),
        help="16-bit images: scale by the range of the data set (auto) or by all 16 bits (full).",
        **_default(default),
    )


# How it is computed.

device = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Device: auto (the first GPU, else the CPU), cpu, cuda or cuda:N.",
)
log = click.option(
    "--log",
    type=click.Choice(["tensorboard", "wandb", "mlflow", "none"]),
    help="Experiment tracker beside log.jsonl (default: tensorboard, or that of the settings).",
)
run_seed = click.option("--seed", type=int, metavar="N", help="Random seed of the run.")


def seed(text: str, *, default: int | None = 0) -> Decorator:
    """`--seed N` of a command that samples."""
    return click.option("--seed", type=NOT_NEGATIVE, metavar="N", help=text, **_default(default))


def seeds(default: int) -> Decorator:
    """`--seeds N`."""
    return click.option(
        "--seeds",
        default=default,
        show_default=True,
        type=click.IntRange(min=1),
        metavar="N",
        help="Number of random seeds; each repeats all re-id trainings.",
    )


# Who computes.

ray_address = click.option(
    "--ray-address",
    metavar="HOST:PORT",
    help="Running Ray cluster (default: RAY_ADDRESS, else a local cluster is started).",
)


def engine(text: str) -> Decorator:
    """`--engine NAME`."""
    return click.option("--engine", default="local", show_default=True, type=click.Choice(["local", "ray"]), help=text)


# What it writes and prints.

as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")


def out(
    text: str,
    *,
    default: str | None = None,
    kind: click.Path = PATH,
    required: bool = False,
    metavar: str | None = None,
) -> Decorator:
    """`--out PATH`."""
    metavar = metavar or ("PATH" if kind.dir_okay else "FILE")
    return click.option("--out", type=kind, required=required, metavar=metavar, help=text, **_default(default))


def force(text: str) -> Decorator:
    """`--force`."""
    return click.option("--force", is_flag=True, help=text)


def _default(value: object) -> dict[str, Any]:
    # An explicit default of None would satisfy a required option.
    return {} if value is None else {"default": value, "show_default": True}


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
                callback=_set_quiet,
                help="Print only results and errors: no progress, no notes.",
            )
        )
    return command


def _set_quiet(_context: click.Context, _option: click.Parameter, quiet: bool) -> None:
    NOTES.quiet = NOTES.quiet or quiet


class Group(click.Group):
    """A group that lists its commands in sections, in the order they were added; alone it shows its help."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._sections: dict[str, list[str]] = {}

    def add_section(self, title: str, *commands: click.Command) -> None:
        """Add commands under a title of the help."""
        for command in commands:
            self.add_command(command)
            self._sections.setdefault(title, []).append(str(command.name))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order they were added."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, with the names padded to one width."""
        widest = max(map(len, self.commands))
        for title, names in (self._sections or {"Commands": list(self.commands)}).items():
            summaries = [(name, self.commands[name].get_short_help_str(SUMMARY_WIDTH)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{widest}}", summary) for name, summary in summaries])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, or `--help` if there are none: click would end with an error."""
        return super().parse_args(ctx, args or ["--help"])
