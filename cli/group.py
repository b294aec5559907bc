"""A group of commands."""

from __future__ import annotations

import click


class Group(click.Group):
    """Shows its help, as it is, when it is given nothing; click's own way of that ends as an error in one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, or `--help` where there are none."""
        return super().parse_args(ctx, args or ["--help"])
