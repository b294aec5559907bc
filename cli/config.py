"""`dgaug config`."""

from __future__ import annotations

import click
from dgaug_cli import options as shared


@click.group("config", cls=shared.Group)
def command() -> None:
    """List the presets, or show the settings of one.

    \b
    Example:
        dgaug config show market1501
    """


@command.command("list")
def list_presets() -> None:
    """List the presets, each with its purpose and an example.

    \b
    Example:
        dgaug config list
    """
    from dgaug.presets import preset_comments

    for name, (example, *purpose) in preset_comments().items():
        click.echo(name)
        click.echo(click.wrap_text(" ".join(purpose), width=100, initial_indent="    ", subsequent_indent="    "))
        click.echo(f"        {example}")


@command.command("show")
@click.argument("config")
@shared.overrides
def show(config: str, overrides: tuple[str, ...]) -> None:
    """Print all settings of a preset or file as YAML.

    \b
    Example:
        dgaug config show toy --set schedule.iterations=100
    """
    from dgaug.settings import load_settings

    click.echo(load_settings(config, overrides=overrides).to_yaml(), nl=False)
