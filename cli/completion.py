"""`dgaug completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the shell completion script.

    It completes commands, options and their values.

    \b
    Examples, one line for the start-up file of each shell:
        eval "$(dgaug completion bash)"          in ~/.bashrc
        eval "$(dgaug completion zsh)"           in ~/.zshrc
        dgaug completion fish | source           in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"the installed click has no completion for {shell}")
    name = context.find_root().info_name or "dgaug"
    # `kind.source` would start bash to ask for its version.
    script = kind(context.find_root().command, {}, name, "_DGAUG_COMPLETE")
    click.echo(script.source_template % script.source_vars())
