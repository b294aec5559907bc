"""`--device`, the same for every command that computes."""

from __future__ import annotations

import click

device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Where to compute: auto (the first GPU, else the CPU), cpu, cuda or cuda:N.",
)
